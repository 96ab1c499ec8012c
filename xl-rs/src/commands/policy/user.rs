//! Who a command is run for, as a policy tells users apart.
//!
//! xlr itself runs as root. The kernel keeps the user who has logged in for every process, which nothing
//! but root changes; where nobody has logged in (a service), sudo says who has called it; otherwise it is
//! who runs the process.

use rustix::process::getuid;

/// What the kernel says of a process that nobody logged in for.
const NOBODY: u32 = u32::MAX;

/// The name, if the host's own list of users has one, and the number.
pub fn names() -> Vec<String> {
    let login = std::fs::read_to_string("/proc/self/loginuid").ok();
    let sudo = std::env::var("SUDO_UID").ok();
    let uid = uid(login.as_deref(), sudo.as_deref(), getuid().as_raw());
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = name(&users, uid);
    name.into_iter().chain([uid.to_string()]).collect()
}

fn uid(login: Option<&str>, sudo: Option<&str>, own: u32) -> u32 {
    let number = |text: &str| text.trim().parse().ok().filter(|uid| *uid != NOBODY);
    let login = login.and_then(number);
    // Only root's environment was made by sudo.
    let sudo = sudo.and_then(number).filter(|_| own == 0);
    login.or(sudo).unwrap_or(own)
}

fn name(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks() {
        for (login, sudo, own, expected) in [
            (None, None, 0, 0),
            (None, None, 1000, 1000),
            (Some("1000\n"), None, 0, 1000),
            (Some("1000"), Some("1001"), 0, 1000),
            (Some("4294967295"), Some("1001"), 0, 1001),
            (Some("4294967295"), None, 0, 0),
            (Some(""), Some("x"), 0, 0),
            (None, Some("0"), 1000, 1000),
        ] {
            assert_eq!(uid(login, sudo, own), expected, "{login:?} {sudo:?} {own}");
        }
        let users = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n+::\n";
        assert_eq!(name(users, 1000).as_deref(), Some("alice"));
        assert_eq!(name(users, 1), None);
    }
}
