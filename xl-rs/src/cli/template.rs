//! The arguments of `render`, and what `create` takes for a template.

use clap::Args;
use std::path::PathBuf;

// The values that a template is given. clap would take a doc comment for what create does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[expect(missing_docs, reason = "see above")]
pub struct TemplateArgs {
    /// Give the template a value: a number, true, a list, or a text
    ///
    /// NAME may have parts, as in site.bridge=xenbr1. A name that the template does not use is an error.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,

    /// Give the template the values of a TOML file; later files and --set override earlier ones
    #[arg(long, value_name = "FILE")]
    pub values: Vec<PathBuf>,
}

impl TemplateArgs {
    /// Whether a file is a template: it is called so, or is given values.
    #[must_use]
    pub fn is_for(&self, file: &str) -> bool {
        file.ends_with(".j2") || !self.set.is_empty() || !self.values.is_empty()
    }
}

/// Arguments of `render`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RenderArgs {
    /// The template (- for standard input)
    pub template: PathBuf,

    /// What it is given.
    #[command(flatten)]
    pub given: TemplateArgs,

    /// The folder that the configurations go to, one file each; standard output without it
    ///
    /// It is made if it is not there. Files are replaced whole, all of them or none; those that would
    /// not change are left alone.
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Write nothing, show what would change in the folder, and end with 1 if something would
    #[arg(long, requires = "out")]
    pub diff: bool,

    /// Try this policy in place of the site's, /etc/xlr/policy.toml
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Do not print warnings
    #[arg(short, long)]
    pub quiet: bool,
}
