//! The arguments of the verbs for network interfaces.

use clap::Args;

/// Arguments of `network-attach`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct NetworkAttachArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// What the interface shall be, as in vif = [...]: bridge=xenbr0 mac=00:16:3e:12:34:56
    #[arg(value_name = "KEY=VALUE")]
    pub description: Vec<String>,

    /// Stop at this point of the attaching until SIGCONT comes, to see what is left by a kill
    #[arg(long, hide = true, value_name = "N")]
    pub stop_at: Option<usize>,
}

/// Arguments of `network-detach`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct NetworkDetachArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The interface, by its number or hardware address
    #[arg(value_name = "DEVID | MAC")]
    pub interface: String,
}
