//! `generate`: shell completions and man pages, from the definition of the command line.

use super::error::CommandError;
use super::print;
use crate::cli::{GenerateArgs, Generated, definition};
use std::fs;
use std::path::Path;

/// Runs the command.
pub fn run(arguments: &GenerateArgs) -> Result<(), CommandError> {
    match &arguments.what {
        Generated::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut definition(), "xlr", &mut text);
            print(&text)
        }
        Generated::Man { folder } => man_pages(folder),
    }
}

fn man_pages(folder: &Path) -> Result<(), CommandError> {
    let failed =
        |source| CommandError::Write { what: format!("man pages to {}", folder.display()), source };
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(definition(), folder).map_err(failed)
}
