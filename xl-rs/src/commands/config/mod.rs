//! `config`: configurations, without a domain being made of them.

mod check;
mod convert;

use super::error::CommandError;
use super::print_json;
use crate::cli::{ConfigArgs, ConfigVerb};
use crate::config::schema::schema;

/// Runs the command.
pub fn run(arguments: &ConfigArgs) -> Result<(), CommandError> {
    match &arguments.what {
        ConfigVerb::Check(arguments) => check::run(arguments),
        ConfigVerb::Convert(arguments) => convert::run(arguments),
        ConfigVerb::Schema => print_json(&schema()),
    }
}
