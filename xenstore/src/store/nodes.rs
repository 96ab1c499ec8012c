//! Requests about nodes: READ, WRITE, MKDIR, RM, DIRECTORY and permissions.
//!
//! Each first finds its node and checks the right to it, then the quotas, then changes the tree in
//! one go: a request that fails has changed nothing.

use std::borrow::Cow;
use std::sync::Arc;

use super::State;
use super::connections::{Rights, Subject};
use super::node::{Acl, Node, cost, size};
use super::perform::{Context, Failed, domain_path};
use super::quota::Quota;
use super::transaction::{Aspect, Write};
use super::tree::{self, Ledger, Visit, components, signed, split};
use crate::wire::{PAYLOAD_MAX, Reply};
use crate::{Domid, Errno, Path, Permissions};

impl State {
    pub(super) fn read(&mut self, context: &mut Context, path: &Path) -> Result<Reply, Failed> {
        let path = self.resolve(context, path)?;
        let node = self.find_existing(context, &path, Rights::READ, Aspect::Value)?;
        Ok(Reply::Value(node.value.to_vec()))
    }

    pub(super) fn directory(
        &mut self,
        context: &mut Context,
        path: &Path,
    ) -> Result<Reply, Failed> {
        let path = self.resolve(context, path)?;
        let node = self.find_existing(context, &path, Rights::READ, Aspect::Children)?;
        // Before the names are collected: a long list must not cost memory that nobody can be sent.
        if node.children.names_len() > PAYLOAD_MAX {
            return Err(Errno::E2big.into());
        }
        Ok(Reply::Directory(node.children.names().map(String::from).collect()))
    }

    pub(super) fn directory_part(
        &mut self,
        context: &mut Context,
        path: &Path,
        offset: u32,
    ) -> Result<Reply, Failed> {
        let path = self.resolve(context, path)?;
        let node = self.find_existing(context, &path, Rights::READ, Aspect::Children)?;
        let generation = node.generation();
        // The generation and its NUL go first, and the empty name that ends the list has to fit.
        let room = PAYLOAD_MAX - generation.to_string().len() - 2;
        let mut skip = offset as usize;
        let (mut children, mut used, mut last) = (Vec::new(), 0, true);
        for name in node.children.names() {
            if skip > name.len() {
                skip -= name.len() + 1;
                continue;
            }
            // An offset may point into a name; it then gets the rest of it.
            let name = name.get(std::mem::take(&mut skip)..).unwrap_or("");
            if used + name.len() + 1 > room {
                last = false;
                break;
            }
            used += name.len() + 1;
            children.push(name.to_owned());
        }
        Ok(Reply::DirectoryPart { generation, children, last })
    }

    pub(super) fn write(
        &mut self,
        context: &mut Context,
        path: &Path,
        value: &[u8],
    ) -> Result<(), Failed> {
        let path = self.resolve(context, path)?;
        match self.find(context, &path, Rights::WRITE)? {
            Some(found) => self.overwrite(context, &path, found, value)?,
            None => self.create(context, &path, value)?,
        }
        self.changed(context, &path, None);
        Ok(())
    }

    pub(super) fn mkdir(&mut self, context: &mut Context, path: &Path) -> Result<(), Failed> {
        let path = self.resolve(context, path)?;
        if self.find(context, &path, Rights::WRITE)?.is_none() {
            self.create(context, &path, &[])?;
            self.changed(context, &path, None);
        }
        Ok(())
    }

    pub(super) fn rm(&mut self, context: &mut Context, path: &Path) -> Result<(), Failed> {
        let path = self.resolve(context, path)?;
        let found = self.find(context, &path, Rights::WRITE)?;
        let Some((parent, _)) = split(&path) else { return Err(Errno::Einval.into()) };
        if found.is_none() {
            let parent_exists = context.tree(&self.tree).get(parent).is_some();
            return if parent_exists { Ok(()) } else { Err(Errno::Enoent.into()) };
        }
        context.observe(parent, Aspect::Acl)?;
        let generation = self.next_generation();
        if let Some(transaction) = &mut context.transaction {
            transaction.copy.remove(&path, generation, &mut transaction.ledger);
            transaction.removed(&path);
        } else {
            self.removal_events(&path, Visit::After, &mut context.changes);
            self.fire_change(&path, None, &mut context.changes);
            let mut ledger = Ledger::default();
            self.tree.remove(&path, generation, &mut ledger);
            self.settle(ledger);
        }
        Ok(())
    }

    pub(super) fn get_perms(
        &mut self,
        context: &mut Context,
        path: &Path,
    ) -> Result<Reply, Failed> {
        if path.is_special() {
            let acl = self.special(context, path.as_str(), Rights::READ)?;
            return Ok(Reply::Permissions(acl.permissions.clone()));
        }
        let path = self.resolve(context, path)?;
        let node = self.find_existing(context, &path, Rights::READ, Aspect::Acl)?;
        Ok(Reply::Permissions(node.acl.permissions.clone()))
    }

    pub(super) fn set_perms(
        &mut self,
        context: &mut Context,
        path: &Path,
        permissions: &Permissions,
    ) -> Result<(), Failed> {
        if let Some(domid) = context.subject.bound()
            && permissions.entries().count() as u64 > self.limit(domid, Quota::Permissions)
        {
            return Err(Errno::Enospc.into());
        }
        let owner = permissions.owner;
        let Some(owner_since) = self.domains.get(&owner).map(|domain| domain.since) else {
            return Err(Errno::Enoent.into());
        };
        if path.is_special() {
            let old = self.special(context, path.as_str(), Rights::CHANGE)?;
            may_own(context.subject, &old, owner)?;
            let since = self.next_generation();
            let acl = Arc::new(Acl::new(permissions.clone(), since));
            self.specials.insert(path.as_str().to_owned(), acl);
            return Ok(());
        }
        let path = self.resolve(context, path)?;
        self.find_existing(context, &path, Rights::CHANGE, Aspect::Acl)?;
        let since = self.next_generation();
        let acl = Arc::new(Acl::new(permissions.clone(), since));
        let node = context.tree(&self.tree).get(&path).ok_or(Errno::Enoent)?;
        let old = Arc::clone(&node.acl);
        may_own(context.subject, &old, owner)?;
        let grows = signed(acl.cost()) - signed(old.cost());
        let new_size = size(&acl, node.value.len(), node.children.names_len());
        self.fits(context, new_size, old.owner(), grows)?;
        if let Some(transaction) = &mut context.transaction {
            let len = node_value_len(&transaction.copy, &path);
            transaction.copy.set_acl(&path, acl, &mut transaction.ledger);
            transaction.owners.insert(owner, owner_since);
            transaction.wrote(&path, Write::Acl, len);
        } else {
            let mut ledger = Ledger::default();
            self.tree.set_acl(&path, acl, &mut ledger);
            self.settle(ledger);
        }
        self.changed(context, &path, Some(&old));
        Ok(())
    }

    /// The absolute path that a request names; special paths are not for it.
    pub(super) fn resolve<'p>(
        &self,
        context: &Context,
        path: &'p Path,
    ) -> Result<Cow<'p, str>, Failed> {
        if path.is_special() { Err(Errno::Einval.into()) } else { self.absolute(context, path) }
    }

    /// The absolute path that a request names, or a special one, within the limit on paths.
    pub(super) fn absolute<'p>(
        &self,
        context: &Context,
        path: &'p Path,
    ) -> Result<Cow<'p, str>, Failed> {
        let absolute = if path.is_absolute() || path.is_special() {
            Cow::Borrowed(path.as_str())
        } else {
            Cow::Owned(format!("{}{path}", relative_base(context)))
        };
        if let Some(domid) = context.subject.bound() {
            let counted = absolute.len() - domain_prefix_len(&absolute);
            if counted as u64 > self.limit(domid, Quota::PathMax) {
                return Err(Errno::Einval.into());
            }
        }
        Ok(absolute)
    }

    /// What is known of the node, if it exists; fails when the caller lacks the right to it, or to
    /// know.
    fn find(
        &self,
        context: &mut Context,
        path: &str,
        wanted: Rights,
    ) -> Result<Option<Found>, Failed> {
        let tree = context.tree(&self.tree);
        if let Some(node) = tree.get(path) {
            let allowed = context.subject.rights(&node.acl).all_of(wanted);
            let (owner, size, value_len) = (node.acl.owner(), node.size(), node.value.len());
            context.observe(path, Aspect::Acl)?;
            let found = Found { owner, size, value_len };
            return if allowed { Ok(Some(found)) } else { Err(Errno::Eacces.into()) };
        }
        let (nearest, node) = tree.nearest(path);
        let allowed = context.subject.rights(&node.acl).any_of(wanted);
        context.observe(path, Aspect::Absence)?;
        context.observe(nearest, Aspect::Acl)?;
        if allowed { Ok(None) } else { Err(Errno::Eacces.into()) }
    }

    /// The node, which must exist, of which the request depends on this aspect.
    fn find_existing<'a>(
        &'a self,
        context: &'a mut Context,
        path: &str,
        wanted: Rights,
        aspect: Aspect,
    ) -> Result<&'a Node, Failed> {
        if context.transaction.is_none()
            && let Some(node) = self.tree.get(path)
        {
            let allowed = context.subject.rights(&node.acl).all_of(wanted);
            return if allowed { Ok(node) } else { Err(Errno::Eacces.into()) };
        }
        self.find(context, path, wanted)?.ok_or(Errno::Enoent)?;
        context.observe(path, aspect)?;
        Ok(context.tree(&self.tree).get(path).ok_or(Errno::Enoent)?)
    }

    fn overwrite(
        &mut self,
        context: &mut Context,
        path: &str,
        found: Found,
        value: &[u8],
    ) -> Result<(), Failed> {
        let grows = signed(value.len()) - signed(found.value_len);
        let new_size = found.size - found.value_len + value.len();
        self.fits(context, new_size, found.owner, grows)?;
        let generation = self.next_generation();
        let value: Arc<[u8]> = value.into();
        if let Some(transaction) = &mut context.transaction {
            transaction.copy.set_value(path, &value, generation, &mut transaction.ledger);
            transaction.wrote(path, Write::Value, value.len());
        } else {
            let mut ledger = Ledger::default();
            self.tree.set_value(path, &value, generation, &mut ledger);
            self.settle(ledger);
        }
        Ok(())
    }

    /// Makes a node and those above it that are missing; the last one gets the value.
    fn create(&mut self, context: &mut Context, path: &str, value: &[u8]) -> Result<(), Failed> {
        let (nearest, parent) = context.tree(&self.tree).nearest(path);
        let acl = inherited(context.subject, &parent.acl);
        self.fits_new(context, nearest, path, &acl, value.len())?;
        let first = first_missing(nearest, path);
        context.touch(first)?;
        let generation = self.next_generation();
        if let Some(transaction) = &mut context.transaction {
            let ledger = &mut transaction.ledger;
            transaction.copy.create(nearest, path, &acl, value, generation, ledger);
            transaction.wrote(first, Write::Created, 0);
        } else {
            let mut ledger = Ledger::default();
            self.tree.create(nearest, path, &acl, value, generation, &mut ledger);
            self.settle(ledger);
        }
        Ok(())
    }

    /// Whether a guest may make the nodes that are missing on the way to `path`.
    fn fits_new(
        &self,
        context: &Context,
        nearest: &str,
        path: &str,
        acl: &Acl,
        value_len: usize,
    ) -> Result<(), Failed> {
        let Some(domid) = context.subject.bound() else { return Ok(()) };
        let names: Vec<_> = components(path).skip(components(nearest).count()).collect();
        let nodes = self.usage(domid).map_or(0, |usage| usage.nodes);
        let transaction = context.transaction.as_ref();
        let pending = transaction.map_or(0, |t| t.ledger.deltas.get(domid).nodes);
        let nodes = nodes.saturating_add_signed(pending) + names.len() as u64;
        if nodes > self.limit(domid, Quota::Nodes) {
            return Err(Errno::Enospc.into());
        }
        let parent = context.tree(&self.tree).get(nearest).map_or(0, |parent| parent.size());
        let (mut bytes, mut above) = (0, parent);
        for (index, name) in names.iter().enumerate() {
            // The name goes into the node above it.
            self.fits(context, above + name.len() + 1, domid, 0)?;
            let value_len = if index + 1 == names.len() { value_len } else { 0 };
            above = size(acl, value_len, 0);
            bytes += cost(name, acl, value_len);
        }
        self.fits(context, above, domid, signed(bytes))
    }

    /// Whether a guest may change a node to this size, and its owner's account by so many bytes.
    fn fits(
        &self,
        context: &Context,
        node_size: usize,
        owner: Domid,
        grows: i64,
    ) -> Result<(), Failed> {
        let Some(domid) = context.subject.bound() else { return Ok(()) };
        if node_size as u64 > self.limit(domid, Quota::NodeSize) {
            return Err(Errno::Enospc.into());
        }
        if grows <= 0 {
            return Ok(());
        }
        // Inside a transaction the copy is what takes memory, and its holder pays for it.
        let transaction = context.transaction.as_ref();
        let pending = transaction.map_or(0, |t| t.ledger.deltas.get(owner).bytes.max(0));
        let grows = grows + pending;
        let holder = context.transaction.as_ref().map(|_| domid);
        for payer in [Some(owner), holder].into_iter().flatten() {
            let memory = self.usage(payer).map_or(0, |usage| usage.memory);
            if memory.saturating_add_signed(grows) > self.limit(payer, Quota::Memory) {
                return Err(Errno::Enomem.into());
            }
        }
        Ok(())
    }
}

/// What a request has to know of a node before it changes it.
#[derive(Clone, Copy, Debug)]
struct Found {
    owner: Domid,
    size: usize,
    value_len: usize,
}

/// What relative paths of the caller begin with.
pub(super) fn relative_base(context: &Context) -> String {
    let domid = match context.caller {
        super::ConnectionId::Socket(_) => Domid::DOM0,
        super::ConnectionId::Domain(domid) => domid,
    };
    format!("{}/", domain_path(domid))
}

/// Length of `/local/domain/DOMID/` at the front of a path; it does not count for the limit.
fn domain_prefix_len(path: &str) -> usize {
    let mut names = components(path);
    match (names.next(), names.next(), names.next(), names.next()) {
        (Some("local"), Some("domain"), Some(domid), Some(_))
            if domid.bytes().all(|byte| byte.is_ascii_digit()) && domid.len() <= 5 =>
        {
            "/local/domain/".len() + domid.len() + 1
        }
        _ => 0,
    }
}

/// Unprivileged callers keep the owner of a node as it is.
fn may_own(subject: Subject, old: &Acl, owner: Domid) -> Result<(), Failed> {
    if subject.bound().is_some() && owner != old.owner() {
        return Err(Errno::Eperm.into());
    }
    Ok(())
}

/// The permissions of a new node: those of its parent, but a guest owns what it makes.
fn inherited(subject: Subject, parent: &Arc<Acl>) -> Arc<Acl> {
    match subject.bound() {
        Some(domid) if domid != parent.owner() => {
            let permissions = Permissions { owner: domid, ..parent.permissions.clone() };
            Arc::new(Acl::new(permissions, parent.since))
        }
        _ => Arc::clone(parent),
    }
}

/// The highest of the nodes that are missing between the deepest one that exists and `path`.
fn first_missing<'p>(nearest: &str, path: &'p str) -> &'p str {
    let from = if nearest == "/" { 1 } else { nearest.len() + 1 };
    let end = path.get(from..).and_then(|rest| rest.find('/')).map_or(path.len(), |at| from + at);
    path.get(..end).unwrap_or(path)
}

fn node_value_len(tree: &tree::Tree, path: &str) -> usize {
    tree.get(path).map_or(0, |node| node.value.len())
}
