//! A channel, a console beyond the first: `key=value` between commas.

use super::{Part, SpecError};
use domain_builder::spec::{Channel, Connection};
use std::path::PathBuf;

const HELP: &str =
    "write \"name=NAME, connection=pty\" or \"name=NAME, connection=socket, path=/run/FILE\"";

/// The longest path that a socket's address takes.
const PATH_BYTES: usize = 107;

/// Reads a channel.
///
/// # Errors
/// [`SpecError`] with the part at fault.
pub fn parse(text: &str) -> Result<Channel, SpecError> {
    let whole = Part::whole(text);
    let (mut name, mut connection, mut path) = (None, None, None);
    for part in whole.split_commas().map(Part::trim_start) {
        if part.text.is_empty() {
            continue;
        }
        let Some((key, value)) = part.split_once('=') else {
            return Err(part.error(format!("{:?} is no key=value", part.text), HELP));
        };
        let value = Part { text: value.text.trim_end_matches([' ', '\t']), ..value }.trim_start();
        match key.text.trim_end_matches([' ', '\t']) {
            "name" if value.text.is_empty() => return Err(value.error("a name is empty", HELP)),
            "name" => name = Some(value.text.to_owned()),
            "connection" => connection = Some(value),
            "path" => path = Some(value),
            "backend" if matches!(value.text, "" | "0" | "Domain-0") => {}
            "backend" => {
                let message = format!("channels end in domain 0, not in {:?}", value.text);
                return Err(value.error(message, "leave backend out"));
            }
            name => {
                let message = format!("a channel has no parameter {name:?}");
                return Err(key.error(message, HELP));
            }
        }
    }
    let Some(name) = name else { return Err(whole.error("a channel has no name", HELP)) };
    let connection = match connection {
        Some(Part { text: "pty", .. }) => Connection::Pty,
        Some(Part { text: "socket", .. }) => match path {
            Some(path) => Connection::Socket(socket(path)?),
            None => return Err(whole.error("a socket has no path", HELP)),
        },
        Some(other) => {
            let message = format!("{:?} is no kind of connection", other.text);
            return Err(other.error(message, "pty or socket"));
        }
        None => return Err(whole.error("a channel is connected to nothing", HELP)),
    };
    Ok(Channel { name, connection })
}

fn socket(path: Part<'_>) -> Result<PathBuf, SpecError> {
    let wrong = if !path.text.starts_with('/') {
        "the path of a socket begins with /"
    } else if path.text.len() > PATH_BYTES {
        "the path of a socket has at most 107 bytes"
    } else {
        return Ok(PathBuf::from(path.text));
    };
    Err(path.error(wrong, HELP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels() {
        let check = |text: &str, name: &str, connection: Connection| {
            assert_eq!(parse(text), Ok(Channel { name: name.into(), connection }), "{text}");
        };
        check("name=a,connection=pty", "a", Connection::Pty);
        check(" connection = pty , name = org.example.a ,", "org.example.a", Connection::Pty);
        let socket = || Connection::Socket("/run/a b".into());
        check("connection=socket, path=/run/a b, name=x y", "x y", socket());
        check("name=a,connection=pty,path=unused,backend=0", "a", Connection::Pty);
    }

    #[test]
    fn mistakes_are_pointed_at() {
        let long = format!("name=a,connection=socket,path=/{}", "x".repeat(107));
        for (text, range, words) in [
            ("", 0..0, "no name"),
            ("connection=pty", 0..14, "no name"),
            ("name=,connection=pty", 5..5, "a name is empty"),
            ("name=a", 0..6, "connected to nothing"),
            ("name=a,connection=tty", 18..21, "no kind of connection"),
            ("name=a,connection=socket", 0..24, "no path"),
            ("name=a,connection=socket,path=run", 30..33, "begins with /"),
            (&long, 30..138, "107 bytes"),
            ("name=a,conection=pty", 7..16, "no parameter \"conection\""),
            ("name=a,pty", 7..10, "no key=value"),
            ("name=a,connection=pty,backend=3", 30..31, "end in domain 0"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(words), "{text:?}: {error}");
            assert_eq!(error.range, range, "{text:?}");
        }
    }
}
