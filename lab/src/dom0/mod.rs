//! The lab's half inside dom0: process 1, the agent that runs commands, and what they use.

pub mod agent;
pub mod init;
pub mod job;
