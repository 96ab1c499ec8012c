//! How many descriptors this process may have.

use crate::commands::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the host allows: whoever serves every domain, or every program, has some for each.
/// Where that is refused, which is told, the limit stays what it is.
pub fn as_many_as_allowed() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        warn(format_args!("the number of descriptors cannot be raised: {error}"));
    }
}
