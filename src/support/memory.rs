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
