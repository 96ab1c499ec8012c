//! What a host has and lacks for running domains: facts and the judgement on them, both pure.
//!
//! In: [`facts`], which [`crate::commands`] gathers. Out: [`judge`]'s findings, one per feature,
//! each with what is missing and how to mend it. Nothing here reads a file or asks anybody.

pub mod facts;
pub mod judge;

#[cfg(test)]
mod tests;
