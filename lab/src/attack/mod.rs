//! A guest's process that speaks the InfiniBand split driver's protocol by itself, as no library would:
//! it lies, asks for too much, and dies at the worst moment.
//!
//! In: what to do, on its command line, in a guest. Out: `attack: NAME good`, or why not. [`client`]
//! knows the pages and the rings, [`tries`] what to do with them.

mod client;
mod tries;

use std::io;

/// Does what the arguments say.
pub fn main(args: &[String]) -> io::Result<i32> {
    let names: Vec<&str> = args.iter().map(String::as_str).collect();
    match names[..] {
        ["survive", rounds] => {
            let rounds = rounds.parse().map_err(io::Error::other)?;
            tries::survive(rounds)?;
        }
        ["hold", pages] => tries::hold(pages.parse().map_err(io::Error::other)?)?,
        [name] => {
            let chosen: Vec<_> =
                tries::TRIES.iter().filter(|(found, _)| *found == name || name == "all").collect();
            if chosen.is_empty() {
                return Err(io::Error::other(format!("no such attack: {name}")));
            }
            for (name, run) in chosen {
                run().map_err(|error| io::Error::other(format!("{name}: {error}")))?;
                println!("attack: {name} good");
            }
        }
        _ => return Err(io::Error::other("which attack?")),
    }
    Ok(0)
}
