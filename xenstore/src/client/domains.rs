//! Requests about domains ("Domain management and xenstored communications" of the specification) and
//! about the daemon ("Miscellaneous"): for the toolstack of a privileged domain.

use xen_sys::types::{Domid, Gfn, Port};

use super::connection::Client;
use super::error::Error;
use super::expect;
use super::nodes::Nodes;
use crate::path::Path;
use crate::wire::Request;

impl Client {
    /// Connects a domain to the store: its ring is in frame `gfn`, its event channel is `port`
    /// (unbound, for the store's domain).
    ///
    /// # Errors
    /// [`Error::is_denied`]; ENOENT or EINVAL when the domain is not fit for it.
    pub fn introduce(&mut self, domid: Domid, gfn: Gfn, port: Port) -> Result<(), Error> {
        self.done(&Request::Introduce { domid, gfn, port })
    }

    /// Disconnects a domain from the store.
    ///
    /// # Errors
    /// [`Error::is_denied`], [`Error::is_not_found`].
    pub fn release(&mut self, domid: Domid) -> Result<(), Error> {
        self.done(&Request::Release(domid))
    }

    /// Makes `@releaseDomain` fire again for a domain that was shut down and runs again.
    ///
    /// # Errors
    /// [`Error::is_denied`], [`Error::is_not_found`].
    pub fn resume(&mut self, domid: Domid) -> Result<(), Error> {
        self.done(&Request::Resume(domid))
    }

    /// Gives `domid` the rights of `target`.
    ///
    /// # Errors
    /// [`Error::is_denied`], [`Error::is_not_found`].
    pub fn set_target(&mut self, domid: Domid, target: Domid) -> Result<(), Error> {
        self.done(&Request::SetTarget { domid, target })
    }

    /// Whether the store is connected to the domain.
    ///
    /// # Errors
    /// [`Error::is_denied`].
    pub fn is_introduced(&mut self, domid: Domid) -> Result<bool, Error> {
        let request = Request::IsDomainIntroduced(domid);
        let reply = self.call(&request)?;
        expect::introduced(&request, reply)
    }

    /// The path to which the domain's relative paths relate.
    ///
    /// # Errors
    /// A lost connection.
    pub fn get_domain_path(&mut self, domid: Domid) -> Result<Path, Error> {
        let request = Request::GetDomainPath(domid);
        let reply = self.call(&request)?;
        expect::domain_path(&request, reply)
    }

    /// Sends a command to the daemon; each parameter is ended by a NUL on the wire. The answer is
    /// given as it came, without its last NUL.
    ///
    /// # Errors
    /// [`Error::is_denied`]; EINVAL for a command that this daemon does not know.
    pub fn control(&mut self, command: &str, parameters: &[&str]) -> Result<Vec<u8>, Error> {
        let ended = |text: &&str| text.bytes().chain([0]).collect::<Vec<_>>();
        let parameters = parameters.iter().flat_map(ended).collect();
        let request = Request::Control { command: command.to_owned(), parameters };
        let reply = self.call(&request)?;
        let mut answer = expect::control(&request, reply)?;
        if answer.last() == Some(&0) {
            answer.pop();
        }
        Ok(answer)
    }

    /// The feature bits of a domain, or with `None` those that the store supports (Xen 4.21).
    ///
    /// # Errors
    /// ENOSYS from an older store; [`Error::is_denied`], [`Error::is_not_found`].
    pub fn get_feature(&mut self, domid: Option<Domid>) -> Result<u32, Error> {
        let request = Request::GetFeature(domid);
        let reply = self.call(&request)?;
        expect::features(&request, reply)
    }

    /// Sets the feature bits of a domain before it is introduced (Xen 4.21).
    ///
    /// # Errors
    /// As [`Client::get_feature`]; EINVAL for bits that the store does not support.
    pub fn set_feature(&mut self, domid: Domid, features: u32) -> Result<(), Error> {
        self.done(&Request::SetFeature { domid, features })
    }

    /// A quota of a domain, or with `None` the one that new domains get (Xen 4.21).
    ///
    /// # Errors
    /// ENOSYS from an older store; EINVAL for an unknown quota.
    pub fn get_quota(&mut self, domid: Option<Domid>, quota: &str) -> Result<String, Error> {
        let request = Request::GetQuota { domid, quota: Some(quota.to_owned()) };
        let reply = self.call(&request)?;
        expect::quota(&request, reply)
    }

    /// The names of all quotas (Xen 4.21).
    ///
    /// # Errors
    /// ENOSYS from an older store.
    pub fn quota_names(&mut self) -> Result<Vec<String>, Error> {
        let request = Request::GetQuota { domid: None, quota: None };
        let reply = self.call(&request)?;
        let names = expect::quota(&request, reply)?;
        Ok(names.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// Sets a quota of a domain, or with `None` the one that new domains get (Xen 4.21); 0 lifts it.
    ///
    /// # Errors
    /// As [`Client::get_quota`].
    pub fn set_quota(
        &mut self,
        domid: Option<Domid>,
        quota: &str,
        value: u32,
    ) -> Result<(), Error> {
        self.done(&Request::SetQuota { domid, quota: quota.to_owned(), value })
    }

    fn done(&mut self, request: &Request) -> Result<(), Error> {
        let reply = self.call(request)?;
        expect::done(request, reply)
    }
}
