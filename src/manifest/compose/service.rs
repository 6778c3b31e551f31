//! A service, key by key.

use super::{
    super::{
        shown,
        span::Flaw,
        tree::{Data, Entry, Value, entry},
        yaml::{
            draft::{Draft, pairs, text, texts, too_many},
            words::split,
        },
    },
    File, deploy, env_file, health, networks, ports, support,
    value::{Reader, with},
    volumes,
};

/// How the value of a key is read that has a counterpart in the TOML.
#[derive(Clone, Copy)]
enum Rule {
    Text,
    List,
    Truth,
    Whole,
    Number,
    Size,
    Duration,
    Pairs,
    Words,
    /// Names of capabilities, which Docker takes in lower case too.
    Upper,
}

/// Keys with a counterpart: key, table and key in the TOML, how the value is read.
const SAME: [(&str, &str, &str, Rule); 24] = [
    ("image", "", "image", Rule::Text),
    ("command", "", "command", Rule::Words),
    ("entrypoint", "", "entrypoint", Rule::Words),
    ("user", "", "user", Rule::Text),
    ("working_dir", "", "working_dir", Rule::Text),
    ("hostname", "", "hostname", Rule::Text),
    ("labels", "", "labels", Rule::Pairs),
    ("sysctls", "", "sysctls", Rule::Pairs),
    ("tty", "", "tty", Rule::Truth),
    ("init", "", "init", Rule::Truth),
    ("privileged", "", "privileged", Rule::Truth),
    ("dns", "", "dns", Rule::List),
    ("group_add", "", "group_add", Rule::List),
    ("cap_add", "", "cap_add", Rule::Upper),
    ("cap_drop", "", "cap_drop", Rule::Upper),
    ("shm_size", "", "shm_size", Rule::Size),
    ("stop_signal", "", "stop_signal", Rule::Text),
    ("stop_grace_period", "", "stop_timeout", Rule::Duration),
    ("read_only", "resources", "read_only", Rule::Truth),
    ("oom_score_adj", "resources", "oom_score", Rule::Whole),
    ("pids_limit", "resources", "pids", Rule::Whole),
    ("mem_limit", "resources", "memory", Rule::Size),
    ("cpus", "resources", "cpus", Rule::Number),
    ("scale", "placement", "replicas", Rule::Whole),
];

/// A service that is being translated.
pub(super) struct Service<'a> {
    /// The file that it is in.
    pub file: &'a File<'a>,
    /// What it is called.
    pub name: &'a str,
    /// Its keys.
    pub keys: &'a [Entry],
    /// What comes of it.
    pub draft: Draft,
}

/// The service as a table in the shape of the TOML. `None` where it is no map; that is on record.
pub(super) fn read(file: &File<'_>, service: &Entry) -> Option<Entry> {
    let Data::Map(keys) = &service.value.data else {
        let name = shown(&service.name);
        let found = service.value.kind();
        let flaw = Flaw::new(format!("the service `{name}` must be a map, not {found}"));
        file.report.add(
            service.name_span.clone(),
            flaw.hint("write `image: …` below it"),
        );
        return None;
    };
    support::check("services.*", keys, file.report);
    let mut translated = Service {
        file,
        name: &service.name,
        keys,
        draft: Draft::default(),
    };
    // First, since `environment` wins over it.
    if let Some(files) = entry(keys, "env_file") {
        env_file::read(&mut translated, files);
    }
    for key in keys {
        if key.value.data != Data::Null {
            translated.key(key);
        }
    }
    translated.finish_restart(service);
    translated.links();
    // A service that is built has been told to name an image already.
    if !translated.has("image") && !translated.has("build") {
        let name = shown(&service.name);
        let flaw = Flaw::new(format!("the service `{name}` has no `image`"));
        file.report.add_missing(service.name_span.clone(), flaw);
    }
    if !translated.draft.has("image") {
        // It is on record, and the reader would take it for a process.
        let stand_in = text(&service.name_span, "stand.in/image");
        translated.draft.put("image", service, stand_in);
    }

    let own = entry(keys, "x-fleet").and_then(|fleet| fleet.value.as_map());
    let names_network = |entry: &Entry| entry.name == "network" || entry.name == "networks";
    if own.unwrap_or_default().iter().any(names_network) {
        // It wins over what is translated, whichever of the two keys it uses.
        translated.draft.remove("network");
        translated.draft.remove("networks");
    } else if !file.defaults.iter().any(names_network) {
        networks::finish(&mut translated, service);
    }
    let mut draft = Draft::default();
    draft.lay(file.defaults.clone());
    if translated.draft.has("network") || translated.draft.has("networks") {
        draft.remove("network");
        draft.remove("networks");
    }
    draft.lay(translated.draft.into_entries());
    if let Some(fleet) = entry(keys, "x-fleet") {
        match &fleet.value.data {
            Data::Map(own) => draft.lay(own.clone()),
            _ => {
                let found = fleet.value.kind();
                let flaw = Flaw::new(format!("`x-fleet` must be a map, not {found}"));
                file.report.add(fleet.value.span.clone(), flaw);
            }
        }
    }
    Some(Entry {
        name: service.name.clone(),
        name_span: service.name_span.clone(),
        value: draft.finish(service.value.span.clone()),
    })
}

impl<'a> Service<'a> {
    /// Reads values.
    pub(super) fn reader(&self) -> Reader<'a> {
        Reader {
            report: self.file.report,
        }
    }

    /// `key` is written, with a value.
    pub(super) fn has(&self, key: &str) -> bool {
        entry(self.keys, key).is_some_and(|entry| entry.value.data != Data::Null)
    }

    /// Says that `value` is wrong.
    pub(super) fn refuse(&self, value: &Value, flaw: Flaw) {
        self.file.report.add(value.span.clone(), flaw);
    }

    fn key(&mut self, key: &Entry) {
        // `x-…` may hold anything.
        let too_many = too_many(&key.name, &key.value);
        if let Some(flaw) = too_many.filter(|_| !key.name.starts_with("x-")) {
            self.refuse(&key.value, flaw);
            return;
        }
        if let Some((_, table, name, rule)) = SAME.iter().find(|(name, ..)| *name == key.name) {
            let Some(value) = self.value(key, *rule) else {
                return;
            };
            match *table {
                "" => self.draft.put(name, key, value),
                table => self.put_once(table, name, key, value),
            }
            return;
        }
        match key.name.as_str() {
            "build" => self.build(key),
            "environment" => self.environment(key),
            "security_opt" => self.security_opt(key),
            "container_name" => drop(self.reader().text(key)),
            "ports" => ports::read(self, key),
            "volumes" => volumes::read(self, key),
            "tmpfs" => volumes::read_tmpfs(self, key),
            "devices" => volumes::read_devices(self, key),
            "configs" => super::configs::read(self, key),
            "network_mode" => networks::read_mode(self, key),
            "networks" => networks::read(self, key),
            "extra_hosts" => networks::read_extra_hosts(self, key),
            "depends_on" => self.depends_on(key),
            "restart" => self.restart(key),
            "pre_stop" => self.pre_stop(key),
            "healthcheck" => health::read(self, key),
            "logging" => deploy::read_logging(self, key),
            "ulimits" => deploy::read_ulimits(self, key),
            "deploy" => deploy::read(self, key),
            "pull_policy" => self.pull_policy(key),
            "platform" => self.platform(key),
            // Refused, noted, or read elsewhere.
            _ => {}
        }
    }

    /// Gives a key of a table a value; in Compose several keys may say the same.
    pub(super) fn put_once(&mut self, table: &str, name: &str, key: &Entry, value: Value) {
        if self.draft.has_in(table, name) {
            let flaw = Flaw::new(format!("`{}` says again what another key says", key.name));
            self.refuse(&key.value, flaw.hint("remove one of the two"));
            return;
        }
        self.draft.put_in(table, name, key, value);
    }

    fn value(&self, key: &Entry, rule: Rule) -> Option<Value> {
        let reader = self.reader();
        match rule {
            Rule::Text => Some(text(&key.value.span, reader.text(key)?)),
            Rule::List => reader.list(key),
            Rule::Upper => {
                let mut list = reader.list(key)?;
                if let Data::List(items) = &mut list.data {
                    for item in items {
                        let upper = item.as_text().map(str::to_ascii_uppercase);
                        *item = text(&item.span, upper.unwrap_or_default());
                    }
                }
                Some(list)
            }
            Rule::Truth => reader.bool(key),
            Rule::Whole => reader.whole(key),
            Rule::Number => reader.number(key),
            Rule::Size => reader.size(key),
            Rule::Duration => reader.duration(key),
            Rule::Pairs => pairs(&key.name, &key.value, self.file.report, &|_| {
                Ok(String::new())
            }),
            Rule::Words => self.words(key),
        }
    }

    /// A list, or one string that is split.
    pub(super) fn words(&self, key: &Entry) -> Option<Value> {
        let Some(line) = key.value.as_text() else {
            return self.reader().list(key);
        };
        match split(line) {
            Ok(words) => Some(texts(&key.value.span, words)),
            Err(flaw) => {
                self.refuse(&key.value, flaw);
                None
            }
        }
    }

    fn environment(&mut self, key: &Entry) {
        let variables = self.file.variables;
        let from_outside = |name: &str| {
            variables.get(name).cloned().ok_or_else(|| {
                let name = shown(name);
                Flaw::new(format!("the variable `{name}` has no value")).hint(format!(
                    "write its value; \"{{{{ env.{name} }}}}\" takes it from the environment of \
                     the node's agent"
                ))
            })
        };
        let env = pairs(&key.name, &key.value, self.file.report, &from_outside);
        if let Some(Data::Map(entries)) = env.map(|env| env.data) {
            for one in entries {
                let value = one.value.clone();
                self.draft.put_in("env", &one.name, &one, value);
            }
        }
    }

    /// The image is built elsewhere, in any case.
    fn build(&mut self, key: &Entry) {
        if self.has("image") {
            let flaw =
                Flaw::new("`build` has no effect: the image is used as it is in its registry");
            self.file.report.note(key.name_span.clone(), flaw);
            return;
        }
        let flaw = Flaw::new("`build` of Compose is not supported without `image`");
        let hint = "build the image elsewhere, push it to a registry, and name it with `image`";
        self.file.report.add(key.name_span.clone(), flaw.hint(hint));
    }

    /// What every container has anyway is told; the rest is for the engine.
    fn security_opt(&mut self, key: &Entry) {
        let Some(list) = self.reader().list(key) else {
            return;
        };
        let Data::List(mut items) = list.data else {
            return;
        };
        items.retain(|item| {
            let always = matches!(
                item.as_text(),
                Some("no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true")
            );
            if always {
                let flaw = Flaw::new(
                    "`no-new-privileges` has no effect: every service has it, but privileged ones",
                );
                self.file.report.note(item.span.clone(), flaw);
            }
            !always
        });
        let options = with(&key.value, Data::List(items));
        self.draft.put("security_opt", key, options);
    }

    /// `links`: the service is started after those that it names, which it finds anyway.
    fn links(&mut self) {
        let Some(key) = entry(self.keys, "links").filter(|key| key.value.data != Data::Null) else {
            return;
        };
        let Some(list) = self.reader().list(key) else {
            return;
        };
        let mut links = Vec::new();
        for item in list.as_list().unwrap_or_default() {
            let written = item.as_text().unwrap_or_default();
            let (name, alias) = written.split_once(':').unwrap_or((written, written));
            if alias != name {
                let flaw = Flaw::new(format!(
                    "`{}`: a link by another name is not supported",
                    shown(written)
                ));
                let hint = "write it below `networks.<name>.aliases` of the service it leads to";
                self.refuse(item, flaw.hint(hint));
            } else if let Err(flaw) = self.known(name) {
                self.refuse(item, flaw);
            } else {
                links.push(text(&item.span, name));
            }
        }
        let flaw = Flaw::new(
            "`links` says only who starts first: services find each other by their names anyway",
        );
        self.file.report.note(key.name_span.clone(), flaw);
        let Some(mut on) = self.draft.remove("depends_on") else {
            let links = with(&key.value, Data::List(links));
            self.draft.put("depends_on", key, links);
            return;
        };
        for link in links {
            let name = link.as_text().unwrap_or_default().to_owned();
            match &mut on.value.data {
                Data::Map(entries) if entry(entries, &name).is_none() => entries.push(Entry {
                    name,
                    name_span: link.span.clone(),
                    value: text(&link.span, "started"),
                }),
                Data::List(items) if !items.iter().any(|i| i.as_text() == Some(&name)) => {
                    items.push(link);
                }
                _ => {}
            }
        }
        let value = on.value.clone();
        self.draft.put("depends_on", &on, value);
    }

    /// There is a service of this name, and it is taken.
    fn known(&self, name: &str) -> Result<(), Flaw> {
        if self.file.taken.contains(name) {
            return Ok(());
        }
        let name_shown = shown(name);
        if self.file.left_out.contains(name) {
            let flaw = Flaw::new(format!(
                "the service `{name_shown}` is left out, by its profiles"
            ));
            return Err(flaw.hint("choose one of them with `--var COMPOSE_PROFILES=…`"));
        }
        let flaw = Flaw::new(format!("there is no service `{name_shown}`"));
        Err(flaw.hint("name one of this file"))
    }

    /// A list of services, or a map with conditions.
    fn depends_on(&mut self, key: &Entry) {
        let report = self.file.report;
        let known = |name: &str, span: &std::ops::Range<usize>| {
            if let Err(flaw) = self.known(name) {
                report.add(span.clone(), flaw);
            }
        };
        let value = match &key.value.data {
            Data::Map(on) => {
                let mut conditions = Vec::new();
                for other in on {
                    if self.is_optional(other) && self.known(&other.name).is_err() {
                        continue;
                    }
                    known(&other.name, &other.name_span);
                    let condition = self.condition(other);
                    conditions.push(Entry {
                        name: other.name.clone(),
                        name_span: other.name_span.clone(),
                        value: text(&other.value.span, condition),
                    });
                }
                with(&key.value, Data::Map(conditions))
            }
            _ => {
                let Some(list) = self.reader().list(key) else {
                    return;
                };
                for item in list.as_list().unwrap_or_default() {
                    known(item.as_text().unwrap_or_default(), &item.span);
                }
                list
            }
        };
        self.draft.put("depends_on", key, value);
    }

    /// It is waited for only where it is taken.
    fn is_optional(&self, other: &Entry) -> bool {
        let required = other.value.get("required").map(|value| &value.data);
        matches!(required, Some(Data::Bool(false)))
    }

    /// How far the service must have come that another one depends on.
    fn condition(&self, other: &Entry) -> &'static str {
        let Some(keys) = self.reader().map(other) else {
            return "started";
        };
        support::check("services.*.depends_on.*", keys, self.file.report);
        if let Some(required) = entry(keys, "required") {
            self.reader().truth(required);
        }
        let Some(condition) = entry(keys, "condition") else {
            return "started";
        };
        match condition.value.as_text() {
            Some("service_started") => "started",
            Some("service_healthy") => "healthy",
            Some("service_completed_successfully") => "completed",
            _ => {
                let flaw = Flaw::new("this is no condition").hint(
                    "write `service_started`, `service_healthy` or \
                     `service_completed_successfully`",
                );
                self.refuse(&condition.value, flaw);
                "started"
            }
        }
    }

    fn restart(&mut self, key: &Entry) {
        // `deploy.restart_policy` wins, wherever it stands.
        let wins = |deploy: &Entry| deploy.value.get("restart_policy").is_some();
        if entry(self.keys, "deploy").is_some_and(wins) {
            return;
        }
        let written = key.value.as_text().unwrap_or_default();
        let (word, tries) = match written.split_once(':') {
            Some((word @ "on-failure", tries)) => (word, Some(tries)),
            _ => (written, None),
        };
        let policy = match word {
            "no" => "never",
            "always" | "unless-stopped" => "always",
            "on-failure" => "on_failure",
            _ => {
                let flaw = Flaw::new("this is no restart policy")
                    .hint("write `\"no\"`, `always`, `on-failure` or `unless-stopped`");
                self.refuse(&key.value, flaw);
                return;
            }
        };
        if let Some(tries) = tries {
            if tries.parse::<u32>().is_err() {
                let flaw = Flaw::new(format!("`{}` is no number of tries", shown(tries)));
                self.refuse(&key.value, flaw);
            }
            let flaw = Flaw::new("the number of tries has no effect: restarts are never given up");
            self.file.report.note(key.value.span.clone(), flaw);
        }
        self.draft
            .put_in("restart", "policy", key, text(&key.value.span, policy));
    }

    /// Without a policy a service is kept running, as everything in a fleet; but not one whose end
    /// another service waits for.
    fn finish_restart(&mut self, service: &Entry) {
        let is_awaited = self.file.awaited.contains(service.name.as_str());
        if is_awaited && !self.draft.has_in("restart", "policy") {
            let never = text(&service.name_span, "never");
            self.draft.put_in("restart", "policy", service, never);
        }
    }

    fn pre_stop(&mut self, key: &Entry) {
        let hook = match &key.value.data {
            Data::List(hooks) => match hooks.as_slice() {
                [hook] => hook.as_map(),
                _ => None,
            },
            _ => None,
        };
        let Some(hook) = hook else {
            let flaw = Flaw::new("`pre_stop` must be a list of one hook");
            self.refuse(&key.value, flaw.hint("write `- command: [\"…\"]` below it"));
            return;
        };
        support::check("services.*.pre_stop.*", hook, self.file.report);
        let Some(command) = entry(hook, "command") else {
            let flaw = Flaw::new("the hook has no `command`");
            self.refuse(&key.value, flaw);
            return;
        };
        if let Some(words) = self.words(command) {
            self.draft.put("before_stop", key, words);
        }
    }

    fn pull_policy(&mut self, key: &Entry) {
        let policy = match key.value.as_text() {
            Some("always") => "always",
            Some("never") => "never",
            Some("missing" | "if_not_present") => "missing",
            _ => {
                let flaw = Flaw::new("this pull policy is not supported")
                    .hint("write `always`, `never` or `missing`");
                self.refuse(&key.value, flaw);
                return;
            }
        };
        self.draft.put("pull", key, text(&key.value.span, policy));
    }

    fn platform(&mut self, key: &Entry) {
        let arch = match key.value.as_text() {
            Some("linux/arm64" | "linux/arm64/v8") => "aarch64",
            Some("linux/amd64") => "x86_64",
            Some("linux/arm" | "linux/arm/v7") => "armv7l",
            Some("linux/arm/v6") => "armv6l",
            Some("linux/386") => "i686",
            Some("linux/riscv64") => "riscv64",
            _ => {
                let flaw = Flaw::new("this platform is not known")
                    .hint("write `linux/arm64`, `linux/amd64`, `linux/arm/v7` or `linux/arm/v6`");
                self.refuse(&key.value, flaw);
                return;
            }
        };
        let requirement = text(&key.value.span, format!("arch={arch}"));
        self.draft.add_to("placement", "requires", key, requirement);
    }
}
