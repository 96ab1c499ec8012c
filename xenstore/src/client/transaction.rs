//! Transactions ("Transactions" of the specification): run, commit, and run again when another change
//! got in the way.

use super::connection::Client;
use super::error::Error;
use super::expect;
use super::nodes::Nodes;
use crate::errno::Errno;
use crate::wire::{Reply, Request, TransactionId};

/// How often a transaction is tried before [`Error::Conflict`].
pub const TRANSACTION_ATTEMPTS_MAX: u32 = 64;

/// A transaction under way. It sees the store as it was at its start, and nobody sees its changes
/// before it commits.
#[derive(Debug)]
pub struct Transaction<'a> {
    client: &'a mut Client,
    id: TransactionId,
    ended: bool,
    /// Whether a request was answered by EIO.
    torn: bool,
}

impl Client {
    /// Runs `body` in a transaction and commits it. When xenstored answers EAGAIN at the end, because
    /// something that the transaction read was changed meanwhile, all is done again, at most
    /// [`TRANSACTION_ATTEMPTS_MAX`] times: `body` must change nothing but the store.
    ///
    /// EIO within it counts as such a change, too: C xenstored copies each node into a transaction when
    /// it is first asked for, and says so where a node of today is removed from a parent of yesterday,
    /// or the other way round.
    ///
    /// Reads and single writes take a round trip each; give writes to [`Nodes::batch_all`] together.
    ///
    /// # Errors
    /// Those of `body`, after which nothing is changed; those of start and commit;
    /// [`Error::Conflict`].
    pub fn transaction<R, E: From<Error>>(
        &mut self,
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        for tries in 1..=TRANSACTION_ATTEMPTS_MAX {
            let mut transaction = self.start()?;
            let result = match body(&mut transaction) {
                Ok(result) => result,
                Err(error) => {
                    let torn = transaction.torn;
                    drop(transaction);
                    if torn && tries < TRANSACTION_ATTEMPTS_MAX {
                        self.session.counters.conflicts += 1;
                        continue;
                    }
                    // Without its commit it has changed nothing.
                    if self.lost().is_some() && self.connect_again(None)? {
                        self.session.counters.conflicts += 1;
                        continue;
                    }
                    return Err(error);
                }
            };
            match transaction.end(true) {
                Ok(()) => return Ok(result),
                Err(error) if error.is_again() => self.session.counters.conflicts += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Conflict { attempts: TRANSACTION_ATTEMPTS_MAX }.into())
    }

    /// Carries the requests out in one transaction, all or none: three round trips, whatever their
    /// number (start, one burst, commit).
    ///
    /// # Errors
    /// The first refusal, after which nothing is changed; those of [`Client::transaction`].
    pub fn transact(&mut self, requests: &[Request]) -> Result<Vec<Reply>, Error> {
        self.transaction(|transaction| transaction.batch_all(requests))
    }

    fn start(&mut self) -> Result<Transaction<'_>, Error> {
        let request = Request::TransactionStart;
        let reply = self.call(&request)?;
        let id = expect::transaction(&request, reply)?;
        Ok(Transaction { client: self, id, ended: false, torn: false })
    }
}

impl Transaction<'_> {
    /// The transaction's id on the wire.
    #[must_use]
    pub const fn id(&self) -> TransactionId {
        self.id
    }

    /// Ends the transaction; its id is never used again, whatever the answer.
    fn end(mut self, commit: bool) -> Result<(), Error> {
        self.ended = true;
        let request = Request::TransactionEnd { commit };
        let reply = self.client.call_in(self.id, &request)?;
        expect::done(&request, reply)
    }
}

impl Nodes for Transaction<'_> {
    fn call(&mut self, request: &Request) -> Result<Reply, Error> {
        let reply = self.client.call_in(self.id, request);
        self.torn |= is_torn(&reply);
        reply
    }

    fn batch(&mut self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Error> {
        let replies = self.client.burst(self.id, requests)?;
        self.torn |= replies.iter().any(is_torn);
        Ok(replies)
    }
}

fn is_torn(reply: &Result<Reply, Error>) -> bool {
    reply.as_ref().is_err_and(|error| error.errno() == Some(Errno::Eio))
}

/// A transaction that was not committed is discarded.
impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.ended && self.client.lost().is_none() {
            let request = Request::TransactionEnd { commit: false };
            // Nothing hangs on the answer: the server discards it with the connection otherwise.
            let _ = self.client.call_in(self.id, &request);
        }
    }
}
