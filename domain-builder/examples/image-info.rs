//! Prints what the builder knows of a kernel: `image-info KERNEL [CACHE-DIRECTORY]`.
//!
//! Loads it twice, so that the second line of figures shows what the cache gains.

use domain_builder::image::{self, CacheOptions};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(kernel) = arguments.next() else {
        eprintln!("usage: image-info KERNEL [CACHE-DIRECTORY]");
        return ExitCode::from(2);
    };
    let options =
        CacheOptions { directory: arguments.next().map(PathBuf::from), ..CacheOptions::default() };
    match show(Path::new(&kernel), &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            eprintln!("image-info: {text}");
            ExitCode::FAILURE
        }
    }
}

fn show(kernel: &Path, options: &CacheOptions) -> Result<(), image::ImageError> {
    for round in 1..=2 {
        let started = Instant::now();
        let image = image::load(kernel, options)?;
        let loaded = started.elapsed();
        if round == 1 {
            println!("{image:#x?}");
            match image.pv() {
                Ok(layout) => println!("{layout:#x?}"),
                Err(error) => println!("{error}"),
            }
        }
        let started = Instant::now();
        let mut chunk = vec![0; 2 << 20];
        let mut sum = 0;
        for segment in &image.segments {
            let mut offset = 0;
            while offset < segment.mem_len {
                let count = chunk.len().min((segment.mem_len - offset) as usize);
                image.read_segment_at(segment, offset, &mut chunk[..count])?;
                offset += count as u64;
                sum += count;
            }
        }
        println!(
            "load {round}: {loaded:?} ({:?}), then {sum} bytes of segments in {:?}",
            image.origin,
            started.elapsed()
        );
    }
    Ok(())
}
