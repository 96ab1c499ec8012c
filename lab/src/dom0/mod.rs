//! The lab's half inside dom0: process 1, the agent that runs commands, and what cases use.

pub mod agent;
pub mod dump;
pub mod follow;
pub mod guest;
pub mod host;
pub mod init;
pub mod job;
pub mod pending;
pub mod snapshot;
pub mod stopped;
