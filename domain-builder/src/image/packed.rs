//! Compressed data: which format, and what it holds.
//!
//! In: the whole packed data in memory. Out: decoded bytes into a sink, never more than a limit.
//! Never trusts a length that the data declares: it is compared, not allocated.

use super::error::Problem;
use super::lz4_legacy;
use super::xz;
use std::io::{self, Read, Write};

/// Bytes decoded between two writes to the sink.
const CHUNK_BYTES: usize = 256 << 10;
/// Most memory that an xz or lzma dictionary may take. Linux uses 32 MiB, `xz -9` 64 MiB.
const MAX_DICTIONARY_KIB: u32 = 256 << 10;
/// Magic number of every ELF file.
const ELF_MAGIC: [u8; 4] = [0x7f, b'E', b'L', b'F'];

/// How data is packed, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// An ELF file, not packed.
    Elf,
    Gzip,
    Xz,
    /// The `.lzma` format that preceded xz.
    Lzma,
    Bzip2,
    /// LZ4 as Linux packs itself: `lz4 -l`.
    Lz4Legacy,
    /// LZ4 as the `lz4` program packs files.
    Lz4Frame,
    Zstd,
    Lzo,
}

impl Format {
    /// Tells the format by its magic number.
    pub fn of(head: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Format); 9] = [
            (&ELF_MAGIC, Format::Elf),
            (&[0x1f, 0x8b], Format::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Format::Xz),
            // Default properties and a dictionary of whole 64 KiB: all that kernels use.
            (&[0x5d, 0, 0], Format::Lzma),
            (b"BZh", Format::Bzip2),
            (&lz4_legacy::MAGIC, Format::Lz4Legacy),
            (&[0x04, 0x22, 0x4d, 0x18], Format::Lz4Frame),
            (&[0x28, 0xb5, 0x2f, 0xfd], Format::Zstd),
            (&[0x89, b'L', b'Z', b'O', 0], Format::Lzo),
        ];
        MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|&(_, format)| format)
    }

    /// The name that users know.
    pub fn name(self) -> &'static str {
        match self {
            Format::Elf => "none",
            Format::Gzip => "gzip",
            Format::Xz => "xz",
            Format::Lzma => "lzma",
            Format::Bzip2 => "bzip2",
            Format::Lz4Legacy | Format::Lz4Frame => "lz4",
            Format::Zstd => "zstd",
            Format::Lzo => "lzo",
        }
    }

    /// The name again as a static string, for what an index on disk says.
    pub fn known_name(name: &str) -> Option<&'static str> {
        ["none", "gzip", "xz", "lzma", "bzip2", "lz4", "zstd"].into_iter().find(|n| *n == name)
    }
}

/// Packed data and what is known of it. `data` is exactly what the decoder shall see.
pub(super) struct Packed<'a> {
    pub format: Format,
    pub data: &'a [u8],
    /// Length of the decoded data modulo 2^32, where the image declares it.
    pub declared_bytes: Option<u32>,
}

/// Why decoding ended early: the data, or the place where the result goes.
#[derive(Debug)]
pub(super) enum DecodeError {
    Data(Problem),
    Sink(io::Error),
}

impl From<Problem> for DecodeError {
    fn from(problem: Problem) -> Self {
        Self::Data(problem)
    }
}

impl Packed<'_> {
    /// Decodes everything into `sink` and returns the number of bytes.
    pub fn decode(&self, sink: &mut dyn Write, limit_bytes: u64) -> Result<u64, DecodeError> {
        let mut meter = Meter { sink, limit_bytes, decoded_bytes: 0 };
        match self.format {
            Format::Lzo => {
                return Err(Problem::UnsupportedFormat { format: self.format.name() }.into());
            }
            Format::Lz4Legacy => lz4_legacy::decode(self.data, |block| meter.take(block))
                .map_err(|error| meter.corrupt(self.format, error))?,
            Format::Xz => match xz::Single::of(self.data) {
                Some(single) => single
                    .decode(MAX_DICTIONARY_KIB, |piece| meter.take(piece))
                    .map_err(|error| meter.corrupt(self.format, error))?,
                None => self.pump(&mut meter)?,
            },
            _ => self.pump(&mut meter)?,
        }
        let decoded_bytes = meter.decoded_bytes;
        match self.declared_bytes {
            Some(declared) if declared != decoded_bytes as u32 => {
                Err(Problem::LengthMismatch { declared_bytes: declared.into(), decoded_bytes }
                    .into())
            }
            _ => Ok(decoded_bytes),
        }
    }

    fn pump(&self, meter: &mut Meter<'_>) -> Result<(), DecodeError> {
        let mut reader = self.reader().map_err(|e| meter.corrupt(self.format, e.into()))?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => meter.take(&chunk[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(meter.corrupt(self.format, error.into())),
            }
        }
    }

    fn reader(&self) -> io::Result<Box<dyn Read + '_>> {
        let data = self.data;
        Ok(match self.format {
            Format::Gzip => Box::new(flate2::bufread::GzDecoder::new(data)),
            Format::Xz => {
                Box::new(lzma_rust2::XzReader::new_mem_limit(data, true, MAX_DICTIONARY_KIB))
            }
            Format::Lzma => {
                Box::new(lzma_rust2::LzmaReader::new_mem_limit(data, MAX_DICTIONARY_KIB, None)?)
            }
            Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(data)),
            Format::Lz4Frame => Box::new(lz4_flex::frame::FrameDecoder::new(data.chain(TooFar))),
            Format::Zstd => {
                Box::new(ruzstd::decoding::StreamingDecoder::new(data).map_err(io::Error::other)?)
            }
            Format::Elf | Format::Lz4Legacy | Format::Lzo => Box::new(data),
        })
    }
}

/// What lies behind the data of an LZ4 frame. Its decoder takes data that ends between two blocks
/// for complete, although a frame has an end mark.
struct TooFar;

impl Read for TooFar {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::InvalidData, "no end mark"))
    }
}

/// Counts what passes to the sink and stops at the limit.
struct Meter<'a> {
    sink: &'a mut dyn Write,
    limit_bytes: u64,
    decoded_bytes: u64,
}

impl Meter<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.decoded_bytes += bytes.len() as u64;
        if self.decoded_bytes > self.limit_bytes {
            let what = "the decoded kernel";
            return Err(Problem::TooLarge { what, limit_bytes: self.limit_bytes }.into());
        }
        self.sink.write_all(bytes).map_err(DecodeError::Sink)
    }

    fn corrupt(&self, format: Format, error: lz4_legacy::Stop<DecodeError>) -> DecodeError {
        match error {
            lz4_legacy::Stop::Sink(error) => error,
            lz4_legacy::Stop::Data(source) => DecodeError::Data(Problem::Corrupt {
                format: format.name(),
                decoded_bytes: self.decoded_bytes,
                source,
            }),
        }
    }
}
