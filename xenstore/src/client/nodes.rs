//! What can be done with nodes ("Database read, write and permissions operations" of the
//! specification).

use super::error::Error;
use super::expect;
use crate::path::Path;
use crate::permissions::Permissions;
use crate::wire::{Reply, Request};

/// How often a directory that is too long for one message is read anew because it changed.
pub const DIRECTORY_ATTEMPTS_MAX: u32 = 16;

/// Access to nodes: a [`Client`](super::Client), or a [`Transaction`](super::Transaction) of it.
///
/// Paths are taken as text and checked before anything is sent. Each method is one round trip;
/// [`Nodes::batch`] is one for any number of requests (except through the kernel's device, which
/// takes one request at a time).
pub trait Nodes {
    /// Sends one request and waits for its reply, which is never [`Reply::Error`].
    ///
    /// # Errors
    /// Refusals of the server, and a lost connection.
    fn call(&mut self, request: &Request) -> Result<Reply, Error>;

    /// Sends all requests at once and waits for all replies, in the order of the requests. The server
    /// carries each out whatever becomes of the others.
    ///
    /// # Errors
    /// A request that does not fit into a message (nothing is sent then), or a lost connection.
    /// Refusals are in the result, one by one.
    fn batch(&mut self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Error>;

    /// As [`Nodes::batch`], for requests that must all succeed.
    ///
    /// # Errors
    /// The first refusal; later requests were carried out all the same.
    fn batch_all(&mut self, requests: &[Request]) -> Result<Vec<Reply>, Error> {
        self.batch(requests)?.into_iter().collect()
    }

    /// The value of a node.
    ///
    /// # Errors
    /// [`Error::is_not_found`], [`Error::is_denied`].
    fn read(&mut self, path: impl AsRef<str>) -> Result<Vec<u8>, Error> {
        let request = Request::read(path)?;
        let reply = self.call(&request)?;
        expect::value(&request, reply)
    }

    /// The value of a node as text.
    ///
    /// # Errors
    /// As [`Nodes::read`]; [`Error::NotText`] when it is not UTF-8.
    fn read_text(&mut self, path: impl AsRef<str>) -> Result<String, Error> {
        let value = self.read(path.as_ref())?;
        expect::text(path.as_ref(), value)
    }

    /// The value of a node, or `None` where there is no such node.
    ///
    /// # Errors
    /// All but [`Error::is_not_found`].
    fn read_optional(&mut self, path: impl AsRef<str>) -> Result<Option<Vec<u8>>, Error> {
        match self.read(path) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The values of nodes, in the order of the paths and in one round trip; `None` where there is no
    /// such node.
    ///
    /// # Errors
    /// All but [`Error::is_not_found`].
    fn read_each<P: AsRef<str>>(
        &mut self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let requests = paths.into_iter().map(Request::read).collect::<Result<Vec<_>, _>>()?;
        let mut values = Vec::with_capacity(requests.len());
        for (request, reply) in requests.iter().zip(self.batch(&requests)?) {
            values.push(match reply.and_then(|reply| expect::value(request, reply)) {
                Ok(value) => Some(value),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error),
            });
        }
        Ok(values)
    }

    /// The value of a node as text, or `None` where there is no such node.
    ///
    /// # Errors
    /// As [`Nodes::read_text`], but for [`Error::is_not_found`].
    fn read_text_optional(&mut self, path: impl AsRef<str>) -> Result<Option<String>, Error> {
        match self.read_optional(path.as_ref())? {
            Some(value) => expect::text(path.as_ref(), value).map(Some),
            None => Ok(None),
        }
    }

    /// Whether the node is there (its value is read for that).
    ///
    /// # Errors
    /// All but [`Error::is_not_found`].
    fn exists(&mut self, path: impl AsRef<str>) -> Result<bool, Error> {
        Ok(self.read_optional(path)?.is_some())
    }

    /// Sets the value of a node; makes it and its parents where they are missing.
    ///
    /// # Errors
    /// [`Error::is_denied`]; quotas; [`Error::TooLong`].
    fn write(&mut self, path: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let request = Request::write(path, value.as_ref())?;
        let reply = self.call(&request)?;
        expect::done(&request, reply)
    }

    /// Makes sure that a node is there.
    ///
    /// # Errors
    /// [`Error::is_denied`]; quotas.
    fn mkdir(&mut self, path: impl AsRef<str>) -> Result<(), Error> {
        let request = Request::mkdir(path)?;
        let reply = self.call(&request)?;
        expect::done(&request, reply)
    }

    /// Removes a node and all below it. No error when only the node itself is missing.
    ///
    /// # Errors
    /// [`Error::is_not_found`] when its parent is missing too; [`Error::is_denied`].
    fn rm(&mut self, path: impl AsRef<str>) -> Result<(), Error> {
        let request = Request::rm(path)?;
        let reply = self.call(&request)?;
        expect::done(&request, reply)
    }

    /// The names of a node's children. A list that is too long for one message is read in parts, as
    /// often as it takes to get one that did not change meanwhile.
    ///
    /// # Errors
    /// [`Error::is_not_found`], [`Error::is_denied`], [`Error::DirectoryChanging`].
    fn directory(&mut self, path: impl AsRef<str>) -> Result<Vec<String>, Error> {
        let request = Request::directory(path)?;
        match self.call(&request) {
            Ok(reply) => expect::directory(&request, reply),
            Err(error) if error.is_too_big() => {
                let Request::Directory(path) = request else { return Err(error) };
                let mut parts = Parts::new(path);
                loop {
                    let request = parts.request();
                    let reply = self.call(&request)?;
                    if let Some(children) = parts.add(expect::part(&request, reply)?)? {
                        return Ok(children);
                    }
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The permissions of a node.
    ///
    /// # Errors
    /// [`Error::is_not_found`], [`Error::is_denied`].
    fn get_perms(&mut self, path: impl AsRef<str>) -> Result<Permissions, Error> {
        let request = Request::get_perms(path)?;
        let reply = self.call(&request)?;
        expect::permissions(&request, reply)
    }

    /// Replaces the permissions of a node.
    ///
    /// # Errors
    /// [`Error::is_not_found`], [`Error::is_denied`]; quotas.
    fn set_perms(&mut self, path: impl AsRef<str>, permissions: &Permissions) -> Result<(), Error> {
        let request = Request::set_perms(path, permissions.clone())?;
        let reply = self.call(&request)?;
        expect::done(&request, reply)
    }
}

/// A directory that is read in parts (DIRECTORY_PART). The offset counts bytes of the whole list; the
/// node's generation tells whether two parts belong to the same list.
#[derive(Debug)]
pub(crate) struct Parts {
    path: Path,
    children: Vec<String>,
    offset: u32,
    generation: Option<u64>,
    attempts: u32,
}

impl Parts {
    pub(crate) const fn new(path: Path) -> Self {
        Self { path, children: Vec::new(), offset: 0, generation: None, attempts: 1 }
    }

    /// The request for the next part.
    pub(crate) fn request(&self) -> Request {
        Request::DirectoryPart { path: self.path.clone(), offset: self.offset }
    }

    /// Takes a part; gives the whole list when it was the last.
    pub(crate) fn add(
        &mut self,
        (generation, children, last): (u64, Vec<String>, bool),
    ) -> Result<Option<Vec<String>>, Error> {
        let same = self.generation.is_none_or(|known| known == generation);
        // A part without names that is not the last would never end.
        if !same || (children.is_empty() && !last) {
            return self.restart();
        }
        self.generation = Some(generation);
        let bytes: usize = children.iter().map(|name| name.len() + 1).sum();
        // A part fits into one message, and a list of 4 GiB into no store.
        self.offset = self.offset.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.children.extend(children);
        Ok(last.then(|| std::mem::take(&mut self.children)))
    }

    fn restart(&mut self) -> Result<Option<Vec<String>>, Error> {
        if self.attempts == DIRECTORY_ATTEMPTS_MAX {
            let (path, attempts) = (self.path.to_string(), self.attempts);
            return Err(Error::DirectoryChanging { path, attempts });
        }
        self.attempts += 1;
        self.children.clear();
        (self.offset, self.generation) = (0, None);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(generation: u64, names: &[&str], last: bool) -> (u64, Vec<String>, bool) {
        (generation, names.iter().map(ToString::to_string).collect(), last)
    }

    fn offset(parts: &Parts) -> u32 {
        match parts.request() {
            Request::DirectoryPart { offset, .. } => offset,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parts_join_and_a_change_starts_over() {
        let mut parts = Parts::new(Path::new("/a").unwrap());
        assert_eq!(offset(&parts), 0);
        assert!(parts.add(part(1, &["x", "yy"], false)).unwrap().is_none());
        assert_eq!(offset(&parts), 5);
        assert!(parts.add(part(2, &["z"], true)).unwrap().is_none(), "another generation");
        assert_eq!(offset(&parts), 0);
        assert!(parts.add(part(2, &["x"], false)).unwrap().is_none());
        assert_eq!(parts.add(part(2, &["z"], true)).unwrap().unwrap(), ["x", "z"]);
    }

    #[test]
    fn a_directory_that_never_rests_is_given_up() {
        let mut parts = Parts::new(Path::new("/a").unwrap());
        let mut generation = 0;
        let error = loop {
            generation += 1;
            match parts.add(part(generation, &["x"], false)) {
                Ok(_) => assert!(generation < 100),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::DirectoryChanging { attempts: 16, .. }), "{error}");
        let mut parts = Parts::new(Path::new("/a").unwrap());
        assert!((0..100).any(|_| parts.add(part(1, &[], false)).is_err()), "empty parts end");
    }
}
