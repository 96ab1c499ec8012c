//! The skips that are accepted, from `lab/skips.toml`.

use crate::error::{Context as _, Error, Result};
use crate::paths::Paths;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    skip: Vec<Skip>,
}

/// One accepted skip.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// The case.
    pub case: String,
    /// Why; never empty.
    pub reason: String,
}

/// Reads the list.
pub fn read(paths: &Paths) -> Result<Vec<Skip>> {
    let path = paths.workspace.join("lab/skips.toml");
    let text = std::fs::read_to_string(&path).on("read", &path)?;
    let form = |why: String| Error::Form { path: path.clone(), why };
    let file: File = toml::from_str(&text).map_err(|error| form(error.to_string()))?;
    match file.skip.iter().find(|skip| skip.reason.trim().is_empty()) {
        Some(skip) => Err(form(format!("{} has no reason", skip.case))),
        None => Ok(file.skip),
    }
}
