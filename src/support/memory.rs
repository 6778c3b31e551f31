//! Giving back what only the start needed.

/// Tells the kernel that the pages of this program's code are not needed just now.
///
/// A start runs through code that is never used again (arguments, keys, certificates), and the
/// kernel maps sixteen pages for each one touched. Those that are needed come back from the page
/// cache when they are; the others stay out of this process. Only code is named, which is never
/// written, so nothing can be lost.
pub fn release_start_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    let Ok(program) = std::fs::read_link("/proc/self/exe") else {
        return;
    };
    let program = program.to_string_lossy();
    for line in maps.lines().filter(|l| l.ends_with(&*program)) {
        let mut words = line.split_whitespace();
        let (Some(range), Some("r-xp")) = (words.next(), words.next()) else {
            continue;
        };
        let Some((from, to)) = range.split_once('-') else {
            continue;
        };
        let (Ok(from), Ok(to)) = (
            usize::from_str_radix(from, 16),
            usize::from_str_radix(to, 16),
        ) else {
            continue;
        };
        let start = std::ptr::with_exposed_provenance_mut(from);
        // SAFETY: the range is a private, read-only mapping of this program's file. Dropping its
        // pages is invisible: a page that is touched again is read from the same file.
        let dropped = unsafe {
            rustix::mm::madvise(
                start,
                to.saturating_sub(from),
                rustix::mm::Advice::LinuxDontNeed,
            )
        };
        tracing::debug!(
            bytes = to.saturating_sub(from),
            ok = dropped.is_ok(),
            "start code released"
        );
    }
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
    use super::{STACK_MARGIN, release_start_stack, unused_stack};

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
