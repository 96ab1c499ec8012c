//! The form of the file: an image, and frames behind it.

use thiserror::Error;

/// Begins every file.
const MAGIC: &[u8; 8] = b"xlrstore";
/// The form of images and entries. A file with another number is not read.
const FORMAT: u32 = 3;
/// Bytes before the image: the magic, the form, and length and checksum of the image.
pub(super) const HEAD_LEN: usize = 28;
/// Bytes before the entries of a frame.
const FRAME_HEAD_LEN: usize = 16;

/// Why bytes are not the file of a store.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// It does not begin as one.
    #[error("it does not begin like the saved state of a store")]
    Foreign,
    /// Another version wrote it.
    #[error(
        "it has form {found}, and this program reads form {FORMAT}: start the program that wrote it, \
         end it with SIGTERM, and try again"
    )]
    Form {
        /// The form that the file says it has.
        found: u32,
    },
    /// The checksum of the image is wrong, or bytes of it are missing.
    #[error("the image of {len} bytes is damaged or incomplete")]
    Image {
        /// Its length in bytes, as the file says.
        len: u64,
    },
    /// A frame that was not just cut short.
    #[error("the frame at byte {at} is damaged, and so is what follows")]
    Frame {
        /// Where it begins.
        at: usize,
    },
}

/// Entries that were committed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The entries.
    pub entries: &'a [u8],
    /// The sum of the bytes that they made for connections.
    pub answers: u32,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents<'a> {
    /// Everything, as it was.
    pub image: &'a [u8],
    /// What happened since, in order.
    pub frames: Vec<Frame<'a>>,
    /// Bytes at the end that were the beginning of one more frame.
    pub cut_bytes: usize,
}

/// The beginning of a file with this image.
#[must_use]
pub fn begin(image: &[u8]) -> Vec<u8> {
    let mut file = head(image.len() as u64, crc32fast::hash(image)).to_vec();
    file.extend_from_slice(image);
    file
}

/// What stands before an image of this length and checksum.
pub(super) fn head(len: u64, checksum: u32) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    let parts = [&MAGIC[..], &FORMAT.to_le_bytes(), &len.to_le_bytes(), &checksum.to_le_bytes()];
    for (place, byte) in head.iter_mut().zip(parts.concat()) {
        *place = byte;
    }
    let check = crc32fast::hash(&head[..HEAD_LEN - 4]);
    head[HEAD_LEN - 4..].copy_from_slice(&check.to_le_bytes());
    head
}

/// Appends a frame with these entries.
pub fn append_frame(entries: &[u8], answers: u32, out: &mut Vec<u8>) {
    // A frame that could not be read back is cut here already; no batch of entries comes near 4 GiB.
    let len = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let head = out.len();
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&answers.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(entries).to_le_bytes());
    let check = crc32fast::hash(&out[head..]);
    out.extend_from_slice(&check.to_le_bytes());
    out.extend_from_slice(entries);
}

/// Reads a file.
///
/// # Errors
/// See [`LoadError`]. A last frame of which bytes are missing is no error.
pub fn load(file: &[u8]) -> Result<Contents<'_>, LoadError> {
    let Some((head, rest)) = file.split_first_chunk::<HEAD_LEN>() else {
        return Err(LoadError::Foreign);
    };
    if !head.starts_with(MAGIC) {
        return Err(LoadError::Foreign);
    }
    let found = word(head, 8);
    if found != FORMAT {
        return Err(LoadError::Form { found });
    }
    let len = u64::from(word(head, 12)) | u64::from(word(head, 16)) << 32;
    let image = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
    let Some((image, mut rest)) = image.filter(|(image, _)| {
        crc32fast::hash(&head[..HEAD_LEN - 4]) == word(head, HEAD_LEN - 4)
            && crc32fast::hash(image) == word(head, HEAD_LEN - 8)
    }) else {
        return Err(LoadError::Image { len });
    };
    let mut frames = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<FRAME_HEAD_LEN>() {
        let damaged = || LoadError::Frame { at: file.len() - rest.len() };
        if crc32fast::hash(&head[..FRAME_HEAD_LEN - 4]) != word(head, FRAME_HEAD_LEN - 4) {
            return Err(damaged());
        }
        let len = usize::try_from(word(head, 0)).map_err(|_| damaged())?;
        let Some((entries, behind)) = behind.split_at_checked(len) else { break };
        if crc32fast::hash(entries) != word(head, 8) {
            return Err(damaged());
        }
        frames.push(Frame { entries, answers: word(head, 4) });
        rest = behind;
    }
    Ok(Contents { image, frames, cut_bytes: rest.len() })
}

/// The number at a place that is inside.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|bytes| bytes.first_chunk())
        .map_or(0, |word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<u8>, Vec<usize>) {
        let mut file = begin(b"the image");
        let mut ends = vec![file.len()];
        for (entries, answers) in [(&b"one"[..], 1), (b"", 2), (&[7; 300], 3)] {
            append_frame(entries, answers, &mut file);
            ends.push(file.len());
        }
        (file, ends)
    }

    #[test]
    fn a_file_cut_anywhere_has_its_whole_frames() {
        let (file, ends) = sample();
        for cut in 0..=file.len() {
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            match load(&file[..cut]) {
                Ok(contents) => {
                    assert_eq!(contents.image, b"the image");
                    assert_eq!(contents.frames.len() + 1, whole, "cut at {cut}");
                    assert_eq!(contents.cut_bytes, cut - ends[whole - 1]);
                }
                Err(error) => {
                    assert_eq!(whole, 0, "cut at {cut}: {error}");
                }
            }
        }
        let answers: Vec<u32> = load(&file).unwrap().frames.iter().map(|f| f.answers).collect();
        assert_eq!(answers, [1, 2, 3]);
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let (file, _) = sample();
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                assert!(load(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn another_form_says_what_to_do() {
        let mut file = begin(b"");
        file[8] = 9;
        assert_eq!(load(&file), Err(LoadError::Form { found: 9 }));
        assert_eq!(load(b"something else that is long enough"), Err(LoadError::Foreign));
    }
}
