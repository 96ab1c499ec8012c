//! Frames between the lab and its agent in dom0.
//!
//! A frame is a kind (1 byte), the number of the command it belongs to (4 bytes), a length
//! (4 bytes, all little endian) and that many bytes. The channel is a virtio serial port:
//! ordered, without loss, free of any terminal's processing.

use std::io::{self, Read, Write};

/// The longest payload; longer output is cut into several frames.
pub const PAYLOAD_MAX: usize = 1 << 20;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Agent: it is there. JSON [`Hello`].
    Hello = 1,
    /// Host: start a command. JSON [`Order`].
    Run = 2,
    /// Host: bytes for the command's standard input; empty means its end.
    Input = 3,
    /// Host: kill the command and its process group.
    Kill = 4,
    /// Agent: standard output.
    Output = 5,
    /// Agent: standard error.
    Error = 6,
    /// Agent: the command ended; 4 bytes of exit code.
    Exit = 7,
    /// Host: append to a file. Its path, a zero byte, the bytes. Answered by `Exit`.
    Put = 8,
    /// Host: power off.
    PowerOff = 9,
}

impl Kind {
    const ALL: [Kind; 9] = [
        Kind::Hello,
        Kind::Run,
        Kind::Input,
        Kind::Kill,
        Kind::Output,
        Kind::Error,
        Kind::Exit,
        Kind::Put,
        Kind::PowerOff,
    ];
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: Kind,
    /// The command it belongs to.
    pub id: u32,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// What the agent says of its machine when it starts.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Hello {
    /// Seconds since dom0's kernel started.
    pub uptime_seconds: f64,
    /// What went wrong while dom0 was set up; empty when all is well.
    pub trouble: Vec<String>,
}

/// A command to run in dom0.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Order {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Additional environment.
    pub env: Vec<(String, String)>,
    /// Rows and columns when the command wants a terminal.
    pub terminal: Option<(u16, u16)>,
    /// Whether standard output and standard error go one way, which keeps their order; all is
    /// [`Kind::Output`] then.
    pub merged: bool,
}

impl Frame {
    /// A frame.
    pub fn new(kind: Kind, id: u32, payload: impl Into<Vec<u8>>) -> Frame {
        Frame { kind, id, payload: payload.into() }
    }

    /// A frame with a JSON payload.
    pub fn json<T: serde::Serialize>(kind: Kind, id: u32, value: &T) -> io::Result<Frame> {
        Ok(Frame::new(kind, id, serde_json::to_vec(value)?))
    }

    /// Writes the frame in one piece.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let length = u32::try_from(self.payload.len())
            .ok()
            .filter(|_| self.payload.len() <= PAYLOAD_MAX)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "frame too long"))?;
        let mut bytes = Vec::with_capacity(9 + self.payload.len());
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.payload);
        to.write_all(&bytes)?;
        to.flush()
    }

    /// Reads one frame; `None` at an orderly end between two frames.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Frame>> {
        let mut header = [0; 9];
        let mut filled = 0;
        while filled < header.len() {
            match from.read(&mut header[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == header[0]);
        let length = usize::try_from(word(5)).unwrap_or(usize::MAX);
        let (Some(kind), true) = (kind, length <= PAYLOAD_MAX) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame of the lab"));
        };
        let mut payload = vec![0; length];
        from.read_exact(&mut payload)?;
        Ok(Some(Frame { kind, id: word(1), payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_wire() {
        for kind in Kind::ALL {
            let frame = Frame::new(kind, 7, vec![0, 255, 10, 13]);
            let mut bytes = Vec::new();
            frame.write(&mut bytes).expect("written");
            assert_eq!(Frame::read(&mut &bytes[..]).expect("read"), Some(frame));
        }
        assert_eq!(Frame::read(&mut &b""[..]).expect("end"), None);
    }

    #[test]
    fn broken_frames_are_errors() {
        for bytes in [&b"\x05"[..], b"\x63\0\0\0\0\0\0\0\0", b"\x05\0\0\0\0\xff\xff\xff\xff"] {
            assert!(Frame::read(&mut &*bytes).is_err(), "{bytes:?}");
        }
    }
}
