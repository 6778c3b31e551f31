//! Who a program runs as, from `/etc/passwd` and `/etc/group`.
//!
//! The files are read here because a static binary has no name service to ask; users that live
//! only in a directory service are given by number.

use std::fs;

/// A user of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups, the primary one among them.
    pub groups: Vec<u32>,
    /// Login name, or the number where there is none.
    pub name: String,
    /// Home directory, `/` where there is none.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

impl Account {
    /// `name`, `uid`, each with an optional `:group`. `None`: the user that runs the agent.
    ///
    /// # Errors
    /// A sentence for a person when there is no such user or group on this node.
    pub fn find(user: Option<&str>) -> Result<Account, String> {
        // A node without these files (a bare container) still has numbers.
        let passwd = fs::read("/etc/passwd").unwrap_or_default();
        let group = fs::read("/etc/group").unwrap_or_default();
        let (passwd, group) = (
            String::from_utf8_lossy(&passwd),
            String::from_utf8_lossy(&group),
        );
        match user {
            Some(user) => find_in(user, &passwd, &group),
            None => find_in(
                &rustix::process::geteuid().as_raw().to_string(),
                &passwd,
                &group,
            ),
        }
    }
}

fn find_in(user: &str, passwd: &str, group: &str) -> Result<Account, String> {
    let (who, wanted_group) = match user.split_once(':') {
        Some((who, group)) => (who, Some(group)),
        None => (user, None),
    };
    let number = id(who);
    // name:password:uid:gid:comment:home:shell
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| {
            fields.len() >= 7
                && match number {
                    Some(uid) => id(fields[2]) == Some(uid),
                    None => fields[0] == who,
                }
        });
    let mut account = match (entry, number) {
        (Some(fields), _) => {
            let (Some(uid), Some(gid)) = (id(fields[2]), id(fields[3])) else {
                return Err(format!("user `{who}` has no valid number in /etc/passwd"));
            };
            let or = |text: &str, other: &str| {
                if text.is_empty() {
                    other.to_owned()
                } else {
                    text.to_owned()
                }
            };
            Account {
                uid,
                gid,
                groups: Vec::new(),
                name: fields[0].to_owned(),
                home: or(fields[5], "/"),
                shell: or(fields[6], "/bin/sh"),
            }
        }
        (None, Some(uid)) => Account {
            uid,
            gid: uid,
            groups: Vec::new(),
            name: uid.to_string(),
            home: "/".to_owned(),
            shell: "/bin/sh".to_owned(),
        },
        (None, None) => return Err(format!("user `{who}` does not exist on this node")),
    };
    if let Some(wanted) = wanted_group {
        account.gid = match id(wanted) {
            Some(gid) => gid,
            None => groups(group)
                .find(|(name, _, _)| *name == wanted)
                .map(|(_, gid, _)| gid)
                .ok_or_else(|| format!("group `{wanted}` does not exist on this node"))?,
        };
    }
    account.groups.push(account.gid);
    let member = |members: &str| members.split(',').any(|name| name == account.name);
    let more: Vec<u32> = groups(group)
        .filter(|&(_, gid, members)| gid != account.gid && member(members))
        .map(|(_, gid, _)| gid)
        .collect();
    account.groups.extend(more);
    Ok(account)
}

/// Name, number and members of each group: name:password:gid:members.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = id(fields.nth(1)?)?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

/// A number that is not the one by which the system calls mean "leave it as it is".
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits {
        text.parse().ok().filter(|id| *id != u32::MAX)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbroken line\n\
                          pi:x:1000:1000:,,,:/home/pi:/bin/sh\nnobody:x:65534:65534:n:/:\n";
    const GROUP: &str = "root:x:0:\ngpio:x:997:pi,eva\nvideo:x:44:eva\npi:x:1000:\n\
                         dialout:x:20:pi\n";

    #[test]
    fn a_name_brings_its_groups_and_home() {
        let pi = find_in("pi", PASSWD, GROUP).expect("a user");
        assert_eq!((pi.uid, pi.gid), (1000, 1000));
        assert_eq!(pi.groups, [1000, 997, 20]);
        assert_eq!(
            (pi.home.as_str(), pi.shell.as_str()),
            ("/home/pi", "/bin/sh")
        );
        assert_eq!(find_in("1000", PASSWD, GROUP).expect("by number"), pi);
        assert_eq!(
            find_in("nobody", PASSWD, GROUP).expect("a user").shell,
            "/bin/sh"
        );
    }

    #[test]
    fn a_group_may_be_given_by_name_or_number() {
        assert_eq!(find_in("pi:video", PASSWD, GROUP).expect("a user").gid, 44);
        assert_eq!(
            find_in("pi:7", PASSWD, GROUP).expect("a user").groups,
            [7, 997, 20]
        );
        let error = find_in("pi:nope", PASSWD, GROUP).expect_err("no such group");
        assert_eq!(error, "group `nope` does not exist on this node");
    }

    #[test]
    fn a_number_needs_no_entry_but_a_name_does() {
        let account = find_in("4711", PASSWD, GROUP).expect("a number");
        assert_eq!(
            (account.uid, account.gid, account.groups),
            (4711, 4711, vec![4711])
        );
        for bad in ["eva", "", "-1", "4294967295", "pi "] {
            assert!(find_in(bad, PASSWD, GROUP).is_err(), "{bad:?}");
        }
    }
}
