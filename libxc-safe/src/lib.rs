//! libxc-safe
