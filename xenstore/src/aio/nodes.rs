//! What tasks can do with nodes, in a transaction or outside.

use super::task::Link;
use crate::client::expect;
use crate::client::{Error, Parts};
use crate::permissions::Permissions;
use crate::wire::{Reply, Request, TransactionId};

/// Access to nodes: outside transactions by a [`Store`](super::Store), inside by a
/// [`Transaction`](super::Transaction). Calls of different tasks do not wait for each other.
///
/// A call that is cancelled may still be carried out.
#[derive(Clone, Debug)]
pub struct Nodes {
    link: Link,
    transaction: TransactionId,
}

impl Nodes {
    pub(super) const fn new(link: Link) -> Self {
        Self { link, transaction: TransactionId::NONE }
    }

    pub(super) fn within(&self, transaction: TransactionId) -> Self {
        Self { link: self.link.clone(), transaction }
    }

    pub(super) const fn link(&self) -> &Link {
        &self.link
    }

    pub(super) const fn transaction_id(&self) -> TransactionId {
        self.transaction
    }

    /// Sends one request and waits for its reply, which is never [`Reply::Error`].
    ///
    /// # Errors
    /// Refusals of the server, and a lost connection.
    pub async fn call(&self, request: &Request) -> Result<Reply, Error> {
        let mut replies = self.batch(std::slice::from_ref(request)).await?;
        replies.pop().unwrap_or_else(|| Err(Error::lost_reply(request)))
    }

    /// Sends all requests at once and waits for all replies, in the order of the requests.
    ///
    /// # Errors
    /// A request that does not fit into a message (nothing is sent then), or a lost connection.
    /// Refusals are in the result, one by one.
    pub async fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Error> {
        let outcomes = self.link.burst(self.transaction, requests).await?;
        Ok(requests.iter().zip(outcomes).map(|(r, outcome)| expect::reply(r, outcome)).collect())
    }

    /// As [`Nodes::batch`], for requests that must all succeed.
    ///
    /// # Errors
    /// The first refusal; later requests were carried out all the same.
    pub async fn batch_all(&self, requests: &[Request]) -> Result<Vec<Reply>, Error> {
        self.batch(requests).await?.into_iter().collect()
    }

    /// The value of a node.
    ///
    /// # Errors
    /// [`Error::is_not_found`], [`Error::is_denied`].
    pub async fn read(&self, path: impl AsRef<str>) -> Result<Vec<u8>, Error> {
        let request = Request::read(path)?;
        let reply = self.call(&request).await?;
        expect::value(&request, reply)
    }

    /// The value of a node as text.
    ///
    /// # Errors
    /// As [`Nodes::read`]; [`Error::NotText`] when it is not UTF-8.
    pub async fn read_text(&self, path: impl AsRef<str>) -> Result<String, Error> {
        let value = self.read(path.as_ref()).await?;
        expect::text(path.as_ref(), value)
    }

    /// The value of a node, or `None` where there is no such node.
    ///
    /// # Errors
    /// All but [`Error::is_not_found`].
    pub async fn read_optional(&self, path: impl AsRef<str>) -> Result<Option<Vec<u8>>, Error> {
        match self.read(path).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the value of a node; makes it and its parents where they are missing.
    ///
    /// # Errors
    /// [`Error::is_denied`]; quotas; [`Error::TooLong`].
    pub async fn write(&self, path: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let request = Request::write(path, value.as_ref())?;
        self.done(&request).await
    }

    /// Makes sure that a node is there.
    ///
    /// # Errors
    /// [`Error::is_denied`]; quotas.
    pub async fn mkdir(&self, path: impl AsRef<str>) -> Result<(), Error> {
        self.done(&Request::mkdir(path)?).await
    }

    /// Removes a node and all below it. No error when only the node itself is missing.
    ///
    /// # Errors
    /// [`Error::is_not_found`] when its parent is missing too; [`Error::is_denied`].
    pub async fn rm(&self, path: impl AsRef<str>) -> Result<(), Error> {
        self.done(&Request::rm(path)?).await
    }

    /// The names of a node's children, however many.
    ///
    /// # Errors
    /// [`Error::is_not_found`], [`Error::is_denied`], [`Error::DirectoryChanging`].
    pub async fn directory(&self, path: impl AsRef<str>) -> Result<Vec<String>, Error> {
        let path = crate::Path::new(path.as_ref())?;
        let request = Request::Directory(path.clone());
        match self.call(&request).await {
            Err(error) if error.is_too_big() => {}
            reply => return expect::directory(&request, reply?),
        }
        let mut parts = Parts::new(path);
        loop {
            let request = parts.request();
            let reply = self.call(&request).await?;
            if let Some(children) = parts.add(expect::part(&request, reply)?)? {
                return Ok(children);
            }
        }
    }

    /// The permissions of a node.
    ///
    /// # Errors
    /// [`Error::is_not_found`], [`Error::is_denied`].
    pub async fn get_perms(&self, path: impl AsRef<str>) -> Result<Permissions, Error> {
        let request = Request::get_perms(path)?;
        let reply = self.call(&request).await?;
        expect::permissions(&request, reply)
    }

    /// Replaces the permissions of a node.
    ///
    /// # Errors
    /// [`Error::is_not_found`], [`Error::is_denied`]; quotas.
    pub async fn set_perms(
        &self,
        path: impl AsRef<str>,
        permissions: &Permissions,
    ) -> Result<(), Error> {
        self.done(&Request::set_perms(path, permissions.clone())?).await
    }

    async fn done(&self, request: &Request) -> Result<(), Error> {
        let reply = self.call(request).await?;
        expect::done(request, reply)
    }
}
