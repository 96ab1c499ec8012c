//! The arguments of verbs that attach, detach and list devices.

use clap::Args;

/// Arguments of `block-attach`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct BlockAttachArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The disk, as in disk = [ … ] of xl.cfg; several words are joined by commas
    #[arg(value_name = "DISK", required = true)]
    pub disk: Vec<String>,

    /// Stop at this point of the attaching until SIGCONT comes, to see what is left by a kill
    #[arg(long, hide = true, value_name = "N")]
    pub stop_at: Option<usize>,
}

impl BlockAttachArgs {
    /// The words as one description. A target that is named takes what follows it: it comes last.
    #[must_use]
    pub fn description(&self) -> String {
        let (last, first): (Vec<&str>, Vec<&str>) =
            self.disk.iter().map(String::as_str).partition(|word| word.starts_with("target="));
        [first, last].concat().join(",")
    }
}

/// Arguments of `block-detach`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct BlockDetachArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The disk, by its name in the guest or by its number
    #[arg(value_name = "DISK")]
    pub disk: String,

    /// Do not ask the guest, and do not wait for it
    #[arg(short, long)]
    pub force: bool,
}

/// Arguments of the verbs that list devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DeviceListArgs {
    /// Domains, by name or domid
    #[arg(value_name = "DOMAIN", required = true)]
    pub domains: Vec<String>,

    /// Print JSON, one object per device
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_and_a_target_comes_last() {
        let check = |words: &[&str], text: &str| {
            let disk = words.iter().map(ToString::to_string).collect();
            let arguments = BlockAttachArgs { disk, ..BlockAttachArgs::default() };
            assert_eq!(arguments.description(), text);
        };
        check(&["/a,raw,xvda,rw"], "/a,raw,xvda,rw");
        check(&["/a", "raw", "xvda"], "/a,raw,xvda");
        check(&["target=/a,b", "vdev=xvda"], "vdev=xvda,target=/a,b");
    }
}
