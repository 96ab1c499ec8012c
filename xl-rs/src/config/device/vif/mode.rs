//! How dom0's end of an interface is connected: what the name of a script stands for.

use std::path::{Path, PathBuf};

/// Where xl's scripts are.
const SCRIPTS: &str = "/etc/xen/scripts";
const BRIDGE: &str = "vif-bridge";
const ROUTE: &str = "vif-route";
/// What xl runs at the end of an interface that asked for no script.
const NOTHING: &str = "/bin/true";

/// How dom0's end is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It becomes a port of the bridge.
    Bridged,
    /// dom0 routes to it.
    Routed,
    /// It is left as it is.
    Bare,
    /// The user's script connects it.
    Script(PathBuf),
}

impl Mode {
    /// What a script's name stands for. xl's own two are done without them; an empty one asks for an
    /// interface that is left alone.
    #[must_use]
    pub fn of_script(script: Option<&str>) -> Self {
        let own = |name| Path::new(SCRIPTS).join(name);
        match script {
            None => Self::Bridged,
            Some("") => Self::Bare,
            // A name is one in xl's directory, a path stays what it is.
            Some(script) => match own(script) {
                path if path == own(BRIDGE) => Self::Bridged,
                path if path == own(ROUTE) => Self::Routed,
                path if path == Path::new(NOTHING) => Self::Bare,
                path => Self::Script(path),
            },
        }
    }

    /// The script that does the same under xl, which may be the one to remove the interface.
    #[must_use]
    pub fn script(&self) -> PathBuf {
        match self {
            Self::Bridged => Path::new(SCRIPTS).join(BRIDGE),
            Self::Routed => Path::new(SCRIPTS).join(ROUTE),
            Self::Bare => NOTHING.into(),
            Self::Script(path) => path.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_are_not_run() {
        for (script, expected) in [
            (None, Mode::Bridged),
            (Some("vif-bridge"), Mode::Bridged),
            (Some("/etc/xen/scripts/vif-bridge"), Mode::Bridged),
            (Some("vif-route"), Mode::Routed),
            (Some(""), Mode::Bare),
            (Some("/bin/true"), Mode::Bare),
            (Some("vif-nat"), Mode::Script("/etc/xen/scripts/vif-nat".into())),
            (Some("/opt/vif-bridge"), Mode::Script("/opt/vif-bridge".into())),
        ] {
            let mode = Mode::of_script(script);
            assert_eq!(mode, expected, "{script:?}");
            // Whoever reads the node understands the same.
            let text = mode.script().display().to_string();
            assert_eq!(Mode::of_script(Some(&text)), mode, "{script:?}");
        }
    }
}
