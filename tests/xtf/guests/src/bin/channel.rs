//! Two channels. What comes in goes out in capitals, each line with the channel's number in front.
//!
//! `flood=N`: channel N sends numbered lines of eleven bytes instead, as fast as they are taken.
//! `lie=N`: once something has come in, channel N claims more bytes than its ring holds; when that
//! has cost it its connection it connects anew, and is honest from then on.
#![no_std]
#![no_main]

use xtf::{
    Guest, Outcome,
    channel::{Channel, Text},
    event, println,
    store::Error,
};

const CHANNELS: usize = 2;
/// No more is answered at once; with numbers in front it may become three times as long.
const CHUNK: usize = 64;

xtf::main!(main);

struct Talk {
    channel: Channel,
    line_begins: bool,
    floods: bool,
    lies: bool,
    /// Lines sent so far.
    lines: u64,
    /// Bytes of the current line sent so far.
    sent: usize,
}

fn main(guest: &mut Guest) -> Outcome {
    match talk(guest) {
        Ok(()) => Outcome::Success,
        Err(error) => {
            println!("{error}");
            Outcome::Error("the store does not serve us")
        }
    }
}

fn number(guest: &Guest, key: &str) -> u32 {
    guest.option(key).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn talk(guest: &mut Guest) -> Result<(), Error> {
    let (flood, lie) = (number(guest, "flood"), number(guest, "lie"));
    let mut talks = [1, 2].map(|number| Talk {
        channel: Channel::new(guest, number).expect("Xen gives a grant and a port"),
        line_begins: true,
        floods: flood == number,
        lies: lie == number,
        lines: 0,
        sent: 0,
    });
    for talk in &talks {
        connect(guest, &talk.channel)?;
    }
    println!("xtf: channels are connected");
    let ports: [_; CHANNELS] = [talks[0].channel.port, talks[1].channel.port];
    loop {
        for port in ports {
            // Before looking, so that an event after the look ends the wait.
            let _ = event::take(port);
        }
        let mut moved = false;
        for talk in &mut talks {
            if talk.lies && talk.hears() {
                talk.lies = false;
                println!("xtf: channel {} lies", talk.channel.number);
                talk.channel.claim(5000);
                await_state(guest, &talk.channel, "6")?;
                println!("xtf: channel {} is closed", talk.channel.number);
                talk.channel.reset();
                guest.store.write(talk.channel.node("state").as_str(), "1")?;
                connect(guest, &talk.channel)?;
                println!("xtf: channel {} is connected again", talk.channel.number);
            }
            moved |= talk.turn();
        }
        if !moved {
            event::wait(&ports, None).expect("own ports can be polled");
        }
    }
}

/// Connects once the backend has offered the channel.
fn connect(guest: &mut Guest, channel: &Channel) -> Result<(), Error> {
    await_state(guest, channel, "2")?;
    channel.publish(guest)?;
    await_state(guest, channel, "4")?;
    guest.store.write(channel.node("state").as_str(), "4")
}

/// Waits until the backend has this state.
fn await_state(guest: &mut Guest, channel: &Channel, wanted: &str) -> Result<(), Error> {
    let backend = Text::of(format_args!("{}", guest.store.read(channel.node("backend").as_str())?));
    let node = Text::of(format_args!("{}/state", backend.as_str()));
    guest.store.watch(node.as_str(), "backend")?;
    loop {
        guest.store.next_event()?;
        if guest.store.read(node.as_str())? == wanted {
            return guest.store.unwatch(node.as_str(), "backend");
        }
    }
}

impl Talk {
    /// Whether something was moved.
    fn turn(&mut self) -> bool {
        match self {
            _ if self.lies => false,
            _ if self.floods => self.flood(),
            _ => self.answer(),
        }
    }

    /// Whether something has come in; it is thrown away.
    fn hears(&mut self) -> bool {
        self.channel.receive(&mut [0; CHUNK]) > 0
    }

    fn flood(&mut self) -> bool {
        let mut moved = false;
        loop {
            let line = Text::of(format_args!("{:010}\n", self.lines));
            let rest = &line.as_str().as_bytes()[self.sent..];
            let count = self.channel.send(rest);
            if count < rest.len() {
                self.sent += count;
                return moved;
            }
            (self.lines, self.sent, moved) = (self.lines + 1, 0, true);
        }
    }

    fn answer(&mut self) -> bool {
        if self.channel.room() < 3 * CHUNK {
            return false;
        }
        let mut buffer = [0; CHUNK];
        let count = self.channel.receive(&mut buffer);
        for byte in &buffer[..count] {
            if self.line_begins {
                self.channel.send(&[b'0' + self.channel.number as u8, b':']);
            }
            self.channel.send(&[byte.to_ascii_uppercase()]);
            self.line_begins = *byte == b'\n';
        }
        count > 0
    }
}
