//! Requests: who may ask what, and which part of the store answers.

use super::State;
use super::changes::{Changes, Outcome};
use super::connection_id::ConnectionId;
use super::connections::Subject;
use super::quota::Quota;
use super::transaction::{Aspect, Transaction, note_cost};
use super::tree::Tree;
use crate::wire::{MessageType, Packet, Reply, Request, TransactionId};
use crate::{Domid, Errno, Path};

/// Why a request got nothing but an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed(pub(super) Errno);

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        Self(errno)
    }
}

/// A request under way.
pub(super) struct Context {
    pub(super) caller: ConnectionId,
    pub(super) subject: Subject,
    /// The transaction of the request, taken out of its connection meanwhile.
    pub(super) transaction: Option<Box<Transaction>>,
    /// Nodes that one transaction of the caller may touch.
    touch_limit: u64,
    /// Bytes that its account has left.
    memory_left: u64,
    pub(super) changes: Changes,
}

impl Context {
    /// The tree that the request sees.
    pub(super) fn tree<'a>(&'a self, global: &'a Tree) -> &'a Tree {
        self.transaction.as_ref().map_or(global, |transaction| &transaction.copy)
    }

    /// Makes room for the note of a node.
    pub(super) fn touch(&mut self, path: &str) -> Result<(), Failed> {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        if transaction.has_touched(path) {
            return Ok(());
        }
        let beyond = if transaction.touched() as u64 >= self.touch_limit {
            Errno::Enospc
        } else if note_cost(path) as u64 > self.memory_left {
            Errno::Enomem
        } else {
            return Ok(());
        };
        transaction.overfull = true;
        Err(beyond.into())
    }

    /// Notes what the request depends on.
    pub(super) fn observe(&mut self, path: &str, aspect: Aspect) -> Result<(), Failed> {
        self.touch(path)?;
        if let Some(transaction) = &mut self.transaction {
            transaction.observe(path, aspect);
        }
        Ok(())
    }
}

/// Whether only privileged callers may send this type.
const fn is_privileged(kind: MessageType) -> bool {
    use MessageType as T;
    matches!(
        kind,
        T::Control
            | T::Introduce
            | T::Release
            | T::IsDomainIntroduced
            | T::Resume
            | T::SetTarget
            | T::GetFeature
            | T::SetFeature
            | T::GetQuota
            | T::SetQuota
    )
}

/// Whether the transaction number of a request of this type has no meaning.
const fn ignores_transaction(kind: MessageType) -> bool {
    matches!(kind, MessageType::Watch | MessageType::Unwatch)
}

impl State {
    /// Answers a packet as it came from a connection.
    pub fn apply_packet(&mut self, caller: ConnectionId, packet: &Packet) -> Outcome {
        let header = &packet.header;
        match Request::decode(packet) {
            Ok(request) => self.apply(caller, header.transaction, &request),
            // A caller learns what is wrong in this order: the type, the right to send it, the
            // transaction, the payload.
            Err(error) => {
                let kind = header
                    .message_type()
                    .filter(|kind| !matches!(kind, MessageType::WatchEvent | MessageType::Error));
                let allowed = kind.map(|kind| self.admit(caller, header.transaction, kind));
                failed(allowed.and_then(Result::err).map_or(error.errno(), |Failed(errno)| errno))
            }
        }
    }

    /// Answers a request of a connection.
    pub fn apply(
        &mut self,
        caller: ConnectionId,
        transaction: TransactionId,
        request: &Request,
    ) -> Outcome {
        let kind = request.message_type();
        let subject = match self.admit(caller, transaction, kind) {
            Ok(subject) => subject,
            Err(Failed(errno)) => return failed(errno),
        };
        let number = if ignores_transaction(kind) { 0 } else { transaction.0 };
        let (touch_limit, memory_left) = match subject.bound() {
            Some(domid) if number != 0 => {
                let used = self.usage(domid).map_or(0, |usage| usage.memory);
                let memory = self.limit(domid, Quota::Memory).saturating_sub(used);
                (self.limit(domid, Quota::TransactionNodes), memory)
            }
            _ => (u64::MAX, u64::MAX),
        };
        let transaction = self.take_transaction(caller, number);
        let changes = Changes::default();
        let mut context =
            Context { caller, subject, transaction, touch_limit, memory_left, changes };
        let result = self.perform(&mut context, number, request);
        if let Some(transaction) = context.transaction {
            self.put_transaction(caller, number, transaction);
        }
        match result {
            Ok(reply) => Outcome { reply, changes: context.changes },
            Err(Failed(errno)) => failed(errno),
        }
    }

    /// Whose rights a request has, unless it is refused whatever it says.
    fn admit(
        &self,
        caller: ConnectionId,
        transaction: TransactionId,
        kind: MessageType,
    ) -> Result<Subject, Failed> {
        let subject = self.subject(caller).ok_or(Errno::Einval)?;
        let connection = self.connections.get(&caller).ok_or(Errno::Einval)?;
        if is_privileged(kind) && subject != Subject::Privileged {
            return Err(Errno::Eacces.into());
        }
        if transaction != TransactionId::NONE
            && !ignores_transaction(kind)
            && !connection.transactions.contains_key(&transaction.0)
        {
            return Err(Errno::Enoent.into());
        }
        Ok(subject)
    }

    fn perform(
        &mut self,
        context: &mut Context,
        number: u32,
        request: &Request,
    ) -> Result<Option<Reply>, Failed> {
        let done = Reply::Done(request.message_type());
        let reply = match request {
            Request::Directory(path) => self.directory(context, path)?,
            Request::DirectoryPart { path, offset } => {
                self.directory_part(context, path, *offset)?
            }
            Request::Read(path) => self.read(context, path)?,
            Request::GetPerms(path) => self.get_perms(context, path)?,
            Request::Write { path, value } => self.write(context, path, value).map(|()| done)?,
            Request::Mkdir(path) => self.mkdir(context, path).map(|()| done)?,
            Request::Rm(path) => self.rm(context, path).map(|()| done)?,
            Request::SetPerms { path, permissions } => {
                self.set_perms(context, path, permissions).map(|()| done)?
            }
            Request::Watch { path, token, depth } => {
                self.watch(context, path, token, *depth).map(|()| done)?
            }
            Request::Unwatch { path, token } => {
                self.unwatch(context, path, token).map(|()| done)?
            }
            Request::ResetWatches => {
                self.reset_watches(context, number);
                done
            }
            Request::TransactionStart => self.transaction_start(context)?,
            Request::TransactionEnd { commit } => {
                self.transaction_end(context, number, *commit).map(|()| done)?
            }
            Request::GetDomainPath(domid) => Reply::DomainPath(domain_path(*domid)),
            Request::Control { command, parameters } => {
                self.control(&mut context.changes, command, parameters)?
            }
            _ => return self.perform_on_domain(context, request),
        };
        Ok(Some(reply))
    }

    fn perform_on_domain(
        &mut self,
        context: &mut Context,
        request: &Request,
    ) -> Result<Option<Reply>, Failed> {
        let changes = &mut context.changes;
        Ok(Some(match request {
            Request::Introduce { domid, gfn, port } => {
                self.introduce(context.caller, *domid, *gfn, *port, changes)?;
                return Ok(None);
            }
            Request::Release(domid) => {
                self.release(*domid, changes)?;
                Reply::Done(MessageType::Release)
            }
            Request::IsDomainIntroduced(domid) => Reply::Introduced(self.is_introduced(*domid)),
            Request::Resume(domid) => {
                self.resume(*domid)?;
                Reply::Done(MessageType::Resume)
            }
            Request::SetTarget { domid, target } => {
                self.set_target(*domid, *target)?;
                Reply::Done(MessageType::SetTarget)
            }
            Request::GetFeature(domid) => Reply::Features(self.features(*domid)?),
            Request::SetFeature { domid, features } => {
                self.set_features(*domid, *features)?;
                Reply::Done(MessageType::SetFeature)
            }
            Request::GetQuota { domid, quota } => {
                Reply::Quota(self.get_quota(*domid, quota.as_deref())?)
            }
            Request::SetQuota { domid, quota, value } => {
                self.set_quota(*domid, quota, *value)?;
                Reply::Done(MessageType::SetQuota)
            }
            _ => return Err(Errno::Enosys.into()),
        }))
    }
}

fn failed(errno: Errno) -> Outcome {
    Outcome { reply: Some(Reply::Error(errno.into())), changes: Changes::default() }
}

/// The directory to which relative paths of a domain relate.
pub(super) fn domain_path(domid: Domid) -> Path {
    Path::unchecked(format!("/local/domain/{domid}"))
}
