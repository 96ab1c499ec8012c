//! Arguments of the verbs for PCI devices.

use clap::{Args, Subcommand};

/// Arguments of `pci`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct PciArgs {
    /// What to show.
    #[command(subcommand)]
    pub verb: PciVerb,
}

/// What there is to show of PCI devices.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum PciVerb {
    /// List the devices of this host: drivers, virtual functions, and whose they are
    List(PciDevicesArgs),
}

/// Arguments of `pci list`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct PciDevicesArgs {
    /// Only Ethernet and RDMA adapters, with their physical and virtual functions
    #[arg(long)]
    pub rdma: bool,

    /// Print JSON, one object per function
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `pci-assignable-add`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct PciAssignableAddArgs {
    /// The device: [SEGMENT:]BUS:DEVICE.FUNCTION
    #[arg(value_name = "BDF")]
    pub device: String,

    /// A name to call it by, in a configuration as in pci = ["name=NAME"]
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Arguments of `pci-assignable-remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct PciAssignableRemoveArgs {
    /// The device: [SEGMENT:]BUS:DEVICE.FUNCTION, or its name
    #[arg(value_name = "BDF | NAME")]
    pub device: String,

    /// Give it to the driver that it was taken from
    #[arg(short, long)]
    pub rebind: bool,
}

/// Arguments of `pci-assignable-list`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct PciAssignableListArgs {
    /// Add their names
    #[arg(short = 'n', long)]
    pub show_names: bool,

    /// Print JSON, one object per device
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `pci-attach`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct PciAttachArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The device as in a configuration: [SEGMENT:]BUS:DEVICE.FUNCTION[@SLOT][,KEY=VALUE…]
    #[arg(value_name = "DEVICE")]
    pub device: String,

    /// Where the guest shall see it; a hint that PV guests do not get
    #[arg(value_name = "SLOT")]
    pub slot: Option<String>,

    /// Stop at this point of the attaching until SIGCONT comes, to see what is left by a kill
    #[arg(long, hide = true, value_name = "N")]
    pub stop_at: Option<usize>,
}

/// Arguments of `pci-detach`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct PciDetachArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// The device: [SEGMENT:]BUS:DEVICE.FUNCTION, or its name
    #[arg(value_name = "BDF | NAME")]
    pub device: String,

    /// Accepted for the sake of scripts made for xl; the guest is asked all the same
    #[arg(short)]
    pub force: bool,
}

/// Arguments of `pci-list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct PciListArgs {
    /// The domain, by name or domid
    pub domain: String,

    /// Print JSON, one object per device
    #[arg(long)]
    pub json: bool,
}
