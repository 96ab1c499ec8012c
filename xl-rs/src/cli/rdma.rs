//! Arguments of the verbs for InfiniBand devices.

use clap::{Args, Subcommand};

/// Arguments of `rdma`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RdmaArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: RdmaVerb,
}

/// What there is to do with InfiniBand devices.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum RdmaVerb {
    /// List the InfiniBand devices of domains
    List(RdmaListArgs),
    /// Give a domain an InfiniBand device
    Attach(RdmaAttachArgs),
    /// Take an InfiniBand device away from a domain
    Detach(RdmaDetachArgs),
    /// Show what domains use of their InfiniBand devices
    Stats(RdmaListArgs),
}

/// Arguments of `rdma list` and `rdma stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RdmaListArgs {
    /// The domains, by name or domid; all where none is given
    #[arg(value_name = "DOMAIN")]
    pub domains: Vec<String>,

    /// Print JSON, one object per device
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `rdma attach`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RdmaAttachArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// What the device shall be, as in rdma = [...]: backend-device=rxe0 pages=8192
    #[arg(value_name = "KEY=VALUE", required = true)]
    pub description: Vec<String>,

    /// Stop at this point of the attaching until SIGCONT comes, to see what is left by a kill
    #[arg(long, hide = true, value_name = "N")]
    pub stop_at: Option<usize>,
}

/// Arguments of `rdma detach`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RdmaDetachArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The device, by its number
    #[arg(value_name = "DEVID")]
    pub devid: u32,

    /// Take it away although programs of the guest use it
    #[arg(short, long)]
    pub force: bool,
}
