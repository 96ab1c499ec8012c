//! Transactions of tasks. Several may be open on one connection at a time.

use super::Store;
use super::nodes::Nodes;
use super::task::Command;
use crate::client::expect;
use crate::client::{Error, TRANSACTION_ATTEMPTS_MAX};
use crate::wire::{Reply, Request};

/// A transaction under way; dereferences to [`Nodes`]. Dropped without [`Transaction::commit`], it is
/// discarded.
#[derive(Debug)]
pub struct Transaction {
    nodes: Nodes,
    ended: bool,
}

impl std::ops::Deref for Transaction {
    type Target = Nodes;
    fn deref(&self) -> &Nodes {
        &self.nodes
    }
}

impl Store {
    /// Runs `body` in a transaction and commits it; again when the store answers EAGAIN at the end,
    /// at most [`TRANSACTION_ATTEMPTS_MAX`] times. `body` must change nothing but the store. It is
    /// handed the transaction and hands it back to have it committed:
    ///
    /// ```no_run
    /// # async fn example(store: xenstore::aio::Store) -> Result<(), xenstore::client::Error> {
    /// let name = store.transaction(async |tx| {
    ///     let name = tx.read_text("/tool/old").await?;
    ///     tx.write("/tool/new", &name).await?;
    ///     Ok((tx, name))
    /// });
    /// # name.await.map(drop)
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `body`, after which nothing is changed; those of start and commit;
    /// [`Error::Conflict`].
    pub async fn transaction<R, E, F>(&self, mut body: impl FnMut(Transaction) -> F) -> Result<R, E>
    where
        E: From<Error>,
        F: Future<Output = Result<(Transaction, R), E>>,
    {
        for _ in 0..TRANSACTION_ATTEMPTS_MAX {
            let (transaction, result) = body(self.begin().await?).await?;
            match transaction.commit().await {
                Ok(()) => return Ok(result),
                Err(error) if error.is_again() => self.link().count_conflict(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Conflict { attempts: TRANSACTION_ATTEMPTS_MAX }.into())
    }

    /// Carries the requests out in one transaction, all or none: three round trips.
    ///
    /// # Errors
    /// The first refusal, after which nothing is changed; those of [`Store::transaction`].
    pub async fn transact(&self, requests: &[Request]) -> Result<Vec<Reply>, Error> {
        self.transaction(|transaction| async move {
            let replies = transaction.batch_all(requests).await?;
            Ok((transaction, replies))
        })
        .await
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// Quotas; a lost connection.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let request = Request::TransactionStart;
        let reply = self.call(&request).await?;
        let id = expect::transaction(&request, reply)?;
        Ok(Transaction { nodes: self.nodes.within(id), ended: false })
    }
}

impl Transaction {
    /// Commits. Cancelled under way, it is committed or refused all the same: its end was sent.
    ///
    /// # Errors
    /// [`Error::is_again`] when another change got in the way; nothing is changed then.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.ended = true;
        let request = Request::TransactionEnd { commit: true };
        let posted = self.nodes.link().post(self.nodes.transaction_id(), &request)?;
        let outcome = posted.wait(&request).await?;
        expect::reply(&request, outcome).and_then(|reply| expect::done(&request, reply))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            self.nodes.link().send(Command::Discard(self.nodes.transaction_id()));
        }
    }
}
