//! Names of disks in a guest, and the numbers that stand for them (xen-vbd-interface(7)).
//!
//! Pure. Both ways as xl does them: `xvda1`, `hdb`, `sdc2`, `d20p3`, or the number itself.

/// Major number of Xen's disks.
const XVD_MAJOR: u32 = 202;
const SD_MAJOR: u32 = 8;
const HD_MAJORS: [u32; 2] = [3, 22];
/// Disks or partitions beyond what a major number has room for.
const EXTENDED: u32 = 1 << 28;
/// Highest disk and partition of that form.
const EXTENDED_DISK_MAX: u32 = (1 << 20) - 1;
const EXTENDED_PARTITION_MAX: u32 = 255;

/// The number of a name; none if it is no name of a disk.
#[must_use]
pub fn number(vdev: &str) -> Option<u32> {
    if let Some((disk, partition)) =
        plain(vdev).or_else(|| lettered(vdev, "xvd", EXTENDED_DISK_MAX, EXTENDED_PARTITION_MAX))
    {
        return Some(match (disk, partition) {
            (0..=15, 0..=15) => XVD_MAJOR << 8 | disk << 4 | partition,
            _ => EXTENDED | disk << 8 | partition,
        });
    }
    if vdev.starts_with(|first: char| first.is_ascii_digit()) {
        let number = crate::config::reader::c_number(vdev)?;
        return i32::try_from(number).ok().map(i32::cast_unsigned);
    }
    if let Some((disk, partition)) = lettered(vdev, "hd", 3, 63) {
        return Some(HD_MAJORS[(disk / 2) as usize] << 8 | (disk % 2) << 6 | partition);
    }
    let (disk, partition) = lettered(vdev, "sd", 15, 15)?;
    Some(SD_MAJOR << 8 | disk << 4 | partition)
}

/// `dNpM`.
fn plain(vdev: &str) -> Option<(u32, u32)> {
    let (disk, partition) = vdev.strip_prefix('d')?.split_once('p')?;
    let number = |text: &str, highest: u32| {
        let value = crate::config::reader::c_number(text)?;
        u32::try_from(value).ok().filter(|value| *value <= highest)
    };
    Some((number(disk, EXTENDED_DISK_MAX)?, number(partition, EXTENDED_PARTITION_MAX)?))
}

/// A prefix, letters for the disk (a to z, then aa …), digits for the partition.
fn lettered(vdev: &str, prefix: &str, disk_max: u32, partition_max: u32) -> Option<(u32, u32)> {
    let rest = vdev.strip_prefix(prefix)?;
    let digits = rest.trim_start_matches(|letter: char| letter.is_ascii_lowercase());
    let letters = &rest[..rest.len() - digits.len()];
    let mut disk: Option<u32> = None;
    for letter in letters.bytes() {
        let more = disk.map_or(0, |disk| (disk + 1) * 26) + u32::from(letter - b'a');
        disk = Some(more).filter(|disk| *disk <= disk_max);
        disk?;
    }
    let partition = match digits.as_bytes() {
        [] => 0,
        // A partition's number begins with no 0.
        [b'1'..=b'9', ..] if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            digits.parse().ok().filter(|partition| *partition <= partition_max)?
        }
        _ => return None,
    };
    Some((disk?, partition))
}

/// The name that a number has for Linux; those of IDE and SCSI disks keep their own.
#[must_use]
pub fn name(number: u32) -> String {
    let (prefix, disk, partition) = match (number & EXTENDED != 0, number >> 8) {
        (true, _) => ("xvd", (number & !EXTENDED) >> 8, number & 255),
        (false, major) if major == SD_MAJOR => ("sd", number >> 4 & 15, number & 15),
        (false, major) if HD_MAJORS.contains(&major) => {
            let pair = if major == HD_MAJORS[0] { 0 } else { 2 };
            ("hd", pair + (number >> 6 & 3), number & 63)
        }
        (false, major) if major == XVD_MAJOR => ("xvd", number >> 4 & 15, number & 15),
        _ => return number.to_string(),
    };
    let partition = if partition == 0 { String::new() } else { partition.to_string() };
    format!("{prefix}{}{partition}", letters(disk))
}

fn letters(disk: u32) -> String {
    let last = char::from(b'a' + u8::try_from(disk % 26).unwrap_or_default());
    match disk / 26 {
        0 => last.to_string(),
        more => format!("{}{last}", letters(more - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (vdev, wanted, back) in [
            ("xvda", 51712, "xvda"),
            ("xvda1", 51713, "xvda1"),
            ("xvdb", 51728, "xvdb"),
            ("xvdp15", 51967, "xvdp15"),
            ("xvdq", 1 << 28 | 16 << 8, "xvdq"),
            ("xvda16", 1 << 28 | 16, "xvda16"),
            ("xvdz", 1 << 28 | 25 << 8, "xvdz"),
            ("xvdaa", 1 << 28 | 26 << 8, "xvdaa"),
            ("xvdba", 1 << 28 | 52 << 8, "xvdba"),
            ("xvdaaa", 1 << 28 | 702 << 8, "xvdaaa"),
            ("d0p0", 51712, "xvda"),
            ("d1p2", 51730, "xvdb2"),
            ("d20p3", 1 << 28 | 20 << 8 | 3, "xvdu3"),
            ("d1048575p255", 1 << 28 | 1048575 << 8 | 255, "xvdbgqcv255"),
            ("hda", 768, "hda"),
            ("hdb1", 833, "hdb1"),
            ("hdc", 5632, "hdc"),
            ("hdd63", 5759, "hdd63"),
            ("sda", 2048, "sda"),
            ("sdp15", 2303, "sdp15"),
            ("51712", 51712, "xvda"),
            ("0xca00", 51712, "xvda"),
            ("5", 5, "5"),
        ] {
            assert_eq!(number(vdev), Some(wanted), "{vdev}");
            assert_eq!(name(wanted), back, "{vdev}");
        }
        for vdev in [
            "",
            "xvd",
            "xvda0",
            "xvda01",
            "xvda256",
            "xvdA",
            "hde",
            "hda64",
            "sdq",
            "sda16",
            "d1",
            "d1p",
            "dp1",
            "d1p256",
            "d1048576p0",
            "xvda1b",
            "2147483648",
            "-1",
            "1x",
            "nvme0n1",
            "xvdzzzzzz",
        ] {
            assert_eq!(number(vdev), None, "{vdev}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_name_reads_back(disk in 0..=EXTENDED_DISK_MAX, partition in 0..=255_u32) {
            let wanted = number(&format!("d{disk}p{partition}"));
            proptest::prop_assert_eq!(wanted.and_then(|n| number(&name(n))), wanted);
        }

        #[test]
        fn any_text_survives(text: String) {
            let _ = number(&text);
        }

        #[test]
        fn any_number_has_a_name(n: u32) {
            proptest::prop_assert!(!name(n).is_empty());
        }
    }
}
