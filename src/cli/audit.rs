//! `audit`: who changed what, the trail as a file, and whether it is whole.

use super::{
    Failure,
    args::{AuditArgs, AuditVerb, AuditVerifyArgs, Format},
    client::Client,
    output,
};
use crate::journal::{AuditLine, ExportReader, Link, Noted, Verdict};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Bytes of one line of an export.
const MAX_LINE: u64 = 16 << 20;
/// Faults that are told one by one to a person.
const TOLD: usize = 20;

pub(super) async fn run(client: &mut Client, args: AuditArgs) -> Result<(), Failure> {
    match args.verb {
        None => list(client, &args).await,
        Some(AuditVerb::Export { file: None }) => {
            let verdict = export(client, output::print).await?;
            said(&verdict, "exported")
        }
        Some(AuditVerb::Export { file: Some(path) }) => export_to(client, &path).await,
        Some(AuditVerb::Verify(args)) => {
            let mut reader = reader(&args)?;
            let mut lines = client.stream("/api/v1/audit/export").await?;
            while let Some(line) = lines.next().await? {
                reader.take(&line)?;
            }
            tell(&args, &reader.finish()?)
        }
    }
}

/// `audit verify FILE`: needs no controller.
pub(super) fn offline(args: &AuditArgs) -> Result<ExitCode, Failure> {
    if let Some(AuditVerb::Verify(args)) = &args.verb
        && let Some(path) = &args.file
    {
        tell(args, &read_export(path, reader(args)?)?.1)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &mut Client, args: &AuditArgs) -> Result<(), Failure> {
    let mut path = format!("/api/v1/audit?limit={}", args.limit);
    let name = |name: &Option<crate::model::Name>| name.as_ref().map(ToString::to_string);
    for (key, value) in [
        ("who", args.who.clone()),
        ("what", args.what.clone()),
        ("node", name(&args.node)),
        ("workload", name(&args.workload)),
        ("trace", args.trace.clone()),
    ] {
        if let Some(value) = value {
            path += &format!("&{key}={}", escaped(&value));
        }
    }
    let lines: Vec<AuditLine> = client.get(&path).await?;
    if let Some(warning) = warning(&lines) {
        eprintln!("{warning}");
    }
    if args.diff && output::is_for_people(args.output.output) {
        return output::print(&with_differences(&lines));
    }
    let head = [
        "TIME", "WHO", "ROLE", "FROM", "WHAT", "LINE", "TRACE", "HASH",
    ];
    output::list(args.output.output, &lines, &head, |l, wide| {
        let mut row = vec![
            output::utc(l.at),
            l.by.token.clone(),
            l.by.role.to_string(),
            l.by.from.clone(),
            l.what.clone(),
        ];
        if wide {
            let trace = l.by.trace.map_or_else(|| "-".into(), |t| t.trace_id());
            row.extend([l.id.to_string(), trace, l.hash.clone()]);
        }
        row
    })
}

/// What is said before lines that are not whole.
fn warning(lines: &[AuditLine]) -> Option<String> {
    let mut faults = lines.iter().filter_map(|line| line.fault.as_ref());
    // The oldest, which the others may follow from.
    let first = output::visible(faults.next_back()?);
    let more = match faults.count() {
        0 => String::new(),
        n => format!(" (and {n} more of these lines)"),
    };
    Some(format!(
        "warning: the audit trail is not whole: {first}{more}; `fleetctl audit verify` looks at all \
         of it"
    ))
}

/// Each line, and below it what differs.
fn with_differences(lines: &[AuditLine]) -> String {
    let mut text = String::new();
    for l in lines {
        let head = format!(
            "{}  {} ({}, {})  {}",
            output::utc(l.at),
            l.by.token,
            l.by.role,
            l.by.from,
            l.what
        );
        text += &format!("{}\n", output::visible(&head));
        for line in l.changes.iter().flat_map(|changes| changes.lines()) {
            text += &format!("    {}\n", output::visible(line));
        }
    }
    text
}

/// As a value in a query.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| match plain(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        })
        .collect()
}

/// Takes the whole trail, line by line, and looks at it meanwhile.
async fn export(
    client: &mut Client,
    mut keep: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<Verdict, Failure> {
    let mut reader = ExportReader::new(None, None);
    let mut lines = client.stream("/api/v1/audit/export").await?;
    while let Some(line) = lines.next().await? {
        keep(&format!("{line}\n"))?;
        reader.take(&line)?;
    }
    Ok(reader.finish()?)
}

/// Beside, then in its place: a file that is there is whole.
async fn export_to(client: &mut Client, path: &Path) -> Result<(), Failure> {
    let beside = PathBuf::from(format!("{}.part", path.display()));
    let failed = |e: std::io::Error| {
        let what = format!("{} cannot be written: {e}", beside.display());
        let _ = fs::remove_file(&beside);
        Failure::new(what)
    };
    // It tells how the fleet is made: for its owner only.
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = std::io::BufWriter::new(options.open(&beside).map_err(failed)?);
    let taken = export(client, |line| {
        file.write_all(line.as_bytes()).map_err(failed)
    });
    let verdict = match taken.await {
        Ok(verdict) => verdict,
        Err(failure) => {
            let _ = fs::remove_file(&beside);
            return Err(failure);
        }
    };
    let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)?;
    fs::rename(&beside, path)
        .map_err(|e| Failure::new(format!("{} cannot be written: {e}", path.display())))?;
    said(&verdict, &format!("exported to {}", path.display()))
}

/// What was exported, and what is wrong with it: it is exported all the same.
fn said(verdict: &Verdict, done: &str) -> Result<(), Failure> {
    let Link { id, hash } = &verdict.head;
    let lines = count(verdict.lines);
    if !verdict.ok {
        let first = verdict.anchor.id + 1;
        eprintln!("{lines} {done}, of a trail that should have line {first} to line {id}");
        return Err(wrong(verdict));
    }
    eprintln!(
        "{lines} {done}; the newest is {id}:{hash}, to be noted elsewhere: `fleetctl audit verify \
         --head {id}:{hash}` shows later whether everything up to this line is still as it is now"
    );
    Ok(())
}

fn count(lines: u64) -> String {
    match lines {
        1 => "1 line".into(),
        n => format!("{n} lines"),
    }
}

/// With what is known otherwise than by the trail itself.
fn reader(args: &AuditVerifyArgs) -> Result<ExportReader, Failure> {
    if let Some(path) = &args.earlier {
        let (key, earlier) = read_export(path, ExportReader::new(None, None))?;
        if !earlier.ok {
            let Failure { message, code, .. } = wrong(&earlier);
            let message = format!("the earlier export {}: {message}", path.display());
            return Err(Failure {
                message,
                code,
                refused: false,
                conflict: false,
            });
        }
        let Link { id, hash } = earlier.head;
        return Ok(ExportReader::new(
            Some(Noted { id: Some(id), hash }),
            Some(key),
        ));
    }
    Ok(ExportReader::new(args.head.clone(), None))
}

/// The key that it says is the fleet's, and what was found.
fn read_export(path: &Path, mut reader: ExportReader) -> Result<(String, Verdict), Failure> {
    let failed =
        |e: std::io::Error| Failure::new(format!("{} cannot be read: {e}", path.display()));
    let not_one = |e: crate::journal::NotAnExport| Failure::new(format!("{}: {e}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(failed)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        reader
            .take(text.trim_end_matches(['\n', '\r']))
            .map_err(not_one)?;
    }
    let key = reader.fleet_key().unwrap_or_default().to_owned();
    Ok((key, reader.finish().map_err(not_one)?))
}

fn tell(args: &AuditVerifyArgs, verdict: &Verdict) -> Result<(), Failure> {
    let Link { id, hash } = &verdict.head;
    let first = verdict.anchor.id + 1;
    match args.output.output {
        Format::Table | Format::Wide if verdict.ok => {
            let lines = count(verdict.lines);
            let range = match verdict.lines {
                0 => String::new(),
                _ => format!(", {first} to {id}"),
            };
            output::print(&format!(
                "the trail is whole: {lines}{range}; the newest is {id}:{hash}\n"
            ))?;
        }
        Format::Table | Format::Wide => {}
        format => output::one(format, verdict, |_| Vec::new())?,
    }
    match verdict.ok {
        true => Ok(()),
        false => Err(wrong(verdict)),
    }
}

fn wrong(verdict: &Verdict) -> Failure {
    let mut told: Vec<String> = verdict
        .faults
        .iter()
        .take(TOLD)
        .map(|fault| output::visible(&fault.what))
        .collect();
    match verdict.faults.len().saturating_sub(TOLD) {
        0 => {}
        more => told.push(format!("… and {more} more")),
    }
    Failure::new(format!("the trail is not whole:\n  {}", told.join("\n  ")))
}

/// What `--head` takes: a hash, or a line and its hash.
pub(super) fn parse_noted(text: &str) -> Result<Noted, String> {
    let (id, hash) = match text.trim().split_once(':') {
        Some((id, hash)) => {
            let id = id
                .parse()
                .map_err(|_| format!("`{}` is no line's number", id.escape_debug()))?;
            (Some(id), hash)
        }
        None => (None, text.trim()),
    };
    let hash = hash.to_ascii_lowercase();
    if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("a hash of 64 hex digits is expected, or LINE:HASH".into());
    }
    Ok(Noted { id, hash })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fleet::Actor, identity::Role};

    fn line(id: u64, fault: Option<&str>) -> AuditLine {
        AuditLine {
            id,
            at: 0,
            by: Actor {
                token: "ann".into(),
                role: Role::Admin,
                from: "192.0.2.1".into(),
                trace: None,
            },
            what: "applied web".into(),
            changes: None,
            hash: "0".repeat(64),
            fault: fault.map(str::to_owned),
        }
    }

    #[test]
    fn lines_that_are_not_whole_are_warned_of_by_the_oldest_of_them() {
        assert_eq!(warning(&[line(2, None), line(1, None)]), None);
        let lines = [
            line(9, Some("later")),
            line(8, None),
            line(7, Some("a\u{1b}[1mb")),
        ];
        let said = warning(&lines).unwrap();
        assert!(
            said.contains("not whole: ab (and 1 more of these lines);"),
            "{said}"
        );
        let said = warning(&lines[..1]).unwrap();
        assert!(said.contains("not whole: later; `fleetctl"), "{said}");
    }
}
