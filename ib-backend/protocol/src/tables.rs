//! Every record by name, so that the document can be compared with the code.

use crate::{
    AsyncEvent, AsyncPage, Completion, CompletionHeader, ControlPage, CreateCq, CreateQp,
    DeviceAttributes, DirectoryHeader, FieldLayout, GidReply, ModifyQp, MrReply, PkeyReply,
    PortAttributes, QpAttributes, QpReply, Receive, Record, RegMr, ReplyHeader, RequestHeader,
    SendWork, Sge, WorkHeader,
};

/// A record's name, size and fields.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Its fields, by offset.
    pub fields: &'static [FieldLayout],
}

const fn of<R: Record>() -> Table {
    Table { name: R::NAME, size: R::SIZE, fields: R::FIELDS }
}

/// All records.
#[must_use]
pub const fn tables() -> &'static [Table] {
    const {
        &[
            of::<ControlPage>(),
            of::<AsyncPage>(),
            of::<AsyncEvent>(),
            of::<RequestHeader>(),
            of::<CreateCq>(),
            of::<CreateQp>(),
            of::<ModifyQp>(),
            of::<RegMr>(),
            of::<ReplyHeader>(),
            of::<GidReply>(),
            of::<PkeyReply>(),
            of::<QpReply>(),
            of::<MrReply>(),
            of::<DeviceAttributes>(),
            of::<PortAttributes>(),
            of::<QpAttributes>(),
            of::<DirectoryHeader>(),
            of::<WorkHeader>(),
            of::<SendWork>(),
            of::<Receive>(),
            of::<Sge>(),
            of::<CompletionHeader>(),
            of::<Completion>(),
        ]
    }
}
