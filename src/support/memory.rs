//! Giving back what only the start needed.

#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as Header;

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as Header;

/// Tells the kernel that the pages of this program's code and constants are not needed just now.
///
/// A start runs through code that is never used again (arguments, keys, certificates), and the
/// kernel maps sixteen pages for each one touched. Those that are needed come back from the page
/// cache when they are; the others stay out of this process. Nothing is read and nothing is
/// allocated for it, so that the smallest of our processes can do it, too.
pub fn release_code() {
    let page = rustix::param::page_size();
    let (mut bytes, mut ok) = (0, true);
    for (from, to) in read_only(own_headers(), page) {
        // SAFETY: the range is part of a segment of this program that nobody writes to, a private
        // mapping of its file. Dropping its pages is invisible: one that is touched again is read
        // from the same file.
        let dropped = unsafe {
            rustix::mm::madvise(
                std::ptr::with_exposed_provenance_mut(from),
                to - from,
                rustix::mm::Advice::LinuxDontNeed,
            )
        };
        bytes += to - from;
        ok &= dropped.is_ok();
    }
    tracing::debug!(bytes, ok, "code released");
}

/// The headers of this program, as the kernel has mapped them.
fn own_headers() -> &'static [Header] {
    // SAFETY: it only looks up a number.
    let value = |key| unsafe { libc::getauxval(key) };
    let (at, count) = (value(libc::AT_PHDR), value(libc::AT_PHNUM));
    let size_fits = usize::try_from(value(libc::AT_PHENT)) == Ok(size_of::<Header>());
    let (Ok(at), Ok(count)) = (usize::try_from(at), usize::try_from(count)) else {
        return &[];
    };
    if at == 0 || !size_fits {
        return &[];
    }
    // SAFETY: the kernel says that so many headers of this size are there; they are a part of the
    // program, and stay as they are for as long as it runs.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(at), count) }
}

/// Where the segments are that are never written to, in whole pages, from and to.
fn read_only(headers: &[Header], page: usize) -> impl Iterator<Item = (usize, usize)> {
    let number = |n| usize::try_from(n).ok();
    // One that can be anywhere was moved by so much.
    let own = headers.iter().find(|h| h.p_type == libc::PT_PHDR);
    let moved = own.and_then(|h| {
        let at = headers.as_ptr().expose_provenance();
        Some(at.wrapping_sub(number(h.p_vaddr)?))
    });
    let segments = headers
        .iter()
        .filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0);
    segments.filter_map(move |h| {
        let begin = number(h.p_vaddr)?.wrapping_add(moved?);
        let end = begin.checked_add(number(h.p_memsz)?)?;
        // What shares a page with it may be another segment.
        let from = begin.checked_next_multiple_of(page)?;
        let to = end.checked_sub(end.checked_rem(page)?)?;
        (from < to).then_some((from, to))
    })
}

/// Left alone below the stack's present end: what the calls from here on, and signals, may use.
const STACK_MARGIN: usize = 64 * 1024;

/// Gives back what the start put on the main thread's stack and nothing uses any more.
///
/// The deepest calls are those of the start (arguments, keys, certificates): some 300 KiB of memory
/// that is this process's alone, and that the kernel cannot take back by itself. Does nothing on
/// another thread.
pub fn release_start_stack() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    let marker = 0_u8;
    let Some((from, length)) = unused_stack(
        &maps,
        (&raw const marker).addr(),
        rustix::param::page_size(),
    ) else {
        return;
    };
    // SAFETY: the range is in this thread's own stack, and ends well below the frame of this
    // function: nothing there belongs to anybody. A later call that reaches it finds zeroes, as in a
    // stack that never was so deep.
    let dropped = unsafe {
        rustix::mm::madvise(
            std::ptr::with_exposed_provenance_mut(from),
            length,
            rustix::mm::Advice::LinuxDontNeed,
        )
    };
    tracing::debug!(bytes = length, ok = dropped.is_ok(), "start stack released");
}

/// Begin and length of what is unused of the main stack, in whole pages, when `here` is in it.
fn unused_stack(maps: &str, here: usize, page: usize) -> Option<(usize, usize)> {
    let line = maps.lines().find(|l| l.ends_with("[stack]"))?;
    let (from, to) = line.split_whitespace().next()?.split_once('-')?;
    let from = usize::from_str_radix(from, 16).ok()?;
    let to = usize::from_str_radix(to, 16).ok()?;
    if !(from..to).contains(&here) {
        return None;
    }
    let end = here.checked_sub(STACK_MARGIN)?;
    let end = end.checked_sub(end.checked_rem(page)?)?;
    let length = end.checked_sub(from).filter(|length| *length > 0)?;
    Some((from, length))
}

#[cfg(test)]
mod tests {
    use super::{
        STACK_MARGIN, own_headers, read_only, release_code, release_start_stack, unused_stack,
    };

    const MAPS: &str = "00400000-00ece000 r-xp 00001000 fe:00 7 /usr/bin/fleetctl\n\
        7ffd6ba45000-7ffd6baa1000 rw-p 00000000 00:00 0 [stack]\n";

    #[test]
    fn what_lies_below_the_margin_of_the_stack_is_unused() {
        let here = 0x7ffd_6baa_0123;
        let (from, length) = unused_stack(MAPS, here, 4096).expect("some of it");
        assert_eq!(from, 0x7ffd_6ba4_5000);
        assert_eq!(length % 4096, 0);
        let gap = here - (from + length);
        assert!((STACK_MARGIN..STACK_MARGIN + 4096).contains(&gap), "{gap}");
    }

    #[test]
    fn a_stack_that_is_not_deep_and_that_of_another_thread_are_left_alone() {
        assert_eq!(unused_stack(MAPS, 0x7ffd_6ba4_5100, 4096), None);
        assert_eq!(unused_stack(MAPS, 0x7f00_0000_0000, 4096), None);
        assert_eq!(unused_stack("", 0x7f00_0000_0000, 4096), None);
        assert_eq!(unused_stack("nonsense [stack]", 0, 0), None);
    }

    #[test]
    fn code_and_constants_are_released_and_nothing_that_is_written_to() {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        let page = rustix::param::page_size();
        let found: Vec<(usize, usize)> = read_only(own_headers(), page).collect();
        let here = code_and_constants_are_released_and_nothing_that_is_written_to as fn() as usize;
        let constant = MAPS.as_ptr().addr();
        for (what, at) in [("code", here), ("constants", constant)] {
            assert!(
                found.iter().any(|(from, to)| (*from..*to).contains(&at)),
                "{what} at {at:x}: {found:x?}"
            );
        }
        for (from, to) in &found {
            let within = maps.lines().find(|line| {
                let range = line
                    .split(' ')
                    .next()
                    .and_then(|range| range.split_once('-'));
                let parts = range.map(|(a, b)| [a, b].map(|n| usize::from_str_radix(n, 16)));
                matches!(parts, Some([Ok(a), Ok(b)]) if a <= *from && *to <= b)
            });
            let line = within.expect("it is mapped");
            assert!(!line[..40].contains('w'), "{line}");
        }
        release_code();
        assert!(MAPS.contains("fleetctl"), "it is read again");
    }

    #[test]
    fn without_headers_nothing_is_released() {
        assert_eq!(read_only(&[], 4096).count(), 0);
    }

    /// Fills the stack as deep as a start does, and more.
    #[inline(never)]
    fn deep(depth: u32) -> u64 {
        let mut here = [0_u8; 4096];
        std::hint::black_box(&mut here);
        if depth == 0 {
            return here.len() as u64;
        }
        deep(depth - 1) + std::hint::black_box(here.len() as u64)
    }

    #[test]
    fn a_thread_goes_on_after_its_release_and_may_go_as_deep_again() {
        let first = deep(100);
        release_start_stack();
        assert_eq!(deep(100), first);
    }
}
