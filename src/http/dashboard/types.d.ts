// What the API answers, as far as the dashboard reads it. For `tsc` only: never served.

type Role = "viewer" | "operator" | "admin";
type Presence = "online" | "silent" | "offline";

interface Session { name: string; role: Role; expires_ms: number }
interface Page<T> { items: T[]; next?: string | null }

interface Heartbeat {
  cpu: number; memory: number; disk: number; load: number; temperature?: number | null;
  uptime_s: number; running: number; failed: number; generation: number; heard_ms: number;
}
interface NodeFacts {
  agent_version: string; arch: string; os: string; kernel: string; hostname: string;
  addresses?: string[]; cpus: number; memory_total: number; disk_total: number;
  capabilities?: Record<string, string>;
}
interface DrainView {
  total: number; left: number; moving: number; since_ms: number; done_ms?: number | null;
  force: boolean; blocked: { workload: string; reason: string }[];
}
interface Reading { at: number; heard_ms: number; values: Record<string, number> }
interface Unmanaged { name: string; image: string; running: boolean; runtime: string; project?: string | null }
interface NodeView {
  name: string; state: Presence; reason?: string; since_ms: number;
  approval: "pending" | "approved" | "revoked"; labels: Record<string, string>;
  facts?: NodeFacts | null; engines: { runtime: string; version: string; healthy: boolean }[];
  generation: number; observed_generation: number; instances: number; running: number;
  key: string; joined_ms: number; heartbeat?: Heartbeat | null; cordoned?: boolean;
  drain?: DrainView | null; lost?: boolean; damped?: boolean; http?: boolean; load?: number;
  reserved?: { memory?: number; cpus?: number };
  telemetry?: Record<string, Reading>; discovered?: Unmanaged[];
}
interface InstanceView {
  workload: string; node?: string | null; state: string; reason: string; since_ms: number;
  version: string; revision?: number; up_to_date: boolean; restarts: number; runtime: string;
  health?: string | null; exit_code?: number | null; last_error?: string | null;
  last_output?: string[]; next_run_ms?: number | null; progress?: number | null;
  runs?: number | null; warnings: string[]; count?: number; handle?: string | null;
}
interface WorkloadSpec {
  name: string; type: string; version: string; tags?: string[]; schedule?: unknown;
  run: { container?: { image: string; command?: string[] }; process?: { command: string[] }; python?: { callable: string } };
  mode?: "forever" | { schedule: { cron: string; time_zone?: string | null } } | { n_times: { max_runs: number } };
  placement?: { mode: "every" | { any: { replicas: number } }; strategy: string; requires?: string[]; nodes?: string[]; spread?: string | null };
  depends_on?: Record<string, string>; update?: Record<string, unknown> | null;
}
interface WorkloadView {
  name: string; version: string; revision: number; revisions?: number; desired: "running" | "stopped";
  running: number; wanted: number; missing: number; behind?: number; applied_ms: number;
  spec: WorkloadSpec;
  rollout?: { phase: string; paused: boolean; nodes: number; healthy: number; changing: number; reason: string; to_version: string } | null;
}
interface FieldChange { field: string; from: unknown; to: unknown }
interface RevisionView {
  revision: number; version: string; applied_ms: number; by?: string | null; wanted: boolean;
  nodes: number; verdict: "untried" | "good" | "bad"; fields: FieldChange[];
}
interface Why {
  workload: string; version: number; replicas?: number | null; missing: number;
  nodes: { node: string; placed: boolean; leaving?: boolean; reason: string; score: Record<string, unknown> }[];
}
interface Step { state: string; switched_ms?: number | null; healthy_since_ms?: number | null; unguarded?: boolean; batch?: number }
interface Rollout {
  from: number; to: number; phase: string; paused?: boolean; started_ms: number; ended_ms?: number | null;
  progress_ms: number; reason?: string; by?: string | null; steps: Record<string, Step>;
  verdict?: { at_ms: number; check: string; node?: string | null; reason: string; last_output?: string[] } | null;
  windows?: { changes?: boolean; downloads?: boolean; next_ms?: number | null };
}
interface RolloutView {
  workload: string; version: string; from_version: string; active: boolean; nodes: number;
  waiting: number; changing: number; healthy: number; failed: number; returning?: number;
  returned: number; unchanged?: number; rollout: Rollout;
}
interface PlannedWorkload {
  workload: string; version: string; replaces: boolean; missing: number; rollout?: string | null;
  fields: FieldChange[]; nodes: { node: string; placed: boolean; reason: string }[];
}
interface Plan { version: number; added: PlannedWorkload[]; changed: PlannedWorkload[]; removed?: string[]; unchanged: string[] }
interface ManifestSource { name: string; text: string; files?: Record<string, string> }
interface ManifestProblem { file: string; line: number; column: number; message: string; hint?: string | null; snippet?: string }
interface ProblemDocument { title?: string; status?: number; detail?: string; problems?: ManifestProblem[] }
interface MetricConfig { enabled: boolean; interval_ms: number; change_threshold: number }
interface NodeConfig { heartbeat_interval_ms: number; logs?: { enabled: boolean; interval_ms: number }; telemetry?: Record<string, MetricConfig> }
interface NodeConfigView { configured?: NodeConfig | null; effective_wanted: NodeConfig; reported?: { config: NodeConfig; heard_ms: number } | null }
interface NodeHistory { step_ms: number; times: number[]; series: Record<string, (number | null)[]> }
interface FleetEvent { at: number; event: string; node?: string | null; workload?: string | null; message: string }
/** `missed`: so many before it are not here; -1: the controller began anew. */
interface NumberedEvent { id: number; event: FleetEvent; missed?: number }
interface TokenView { id: string; kind: "join" | "api"; name: string; role?: Role | null; created_ms: number; expires_ms: number; valid: boolean }
interface AuditLine { id: number; at: number; by: { token: string; role: Role; from: string }; what: string; changes?: string | null; hash?: string | null }
interface Alert {
  id: string; rule: string; severity: "info" | "warning" | "critical"; subject: { node?: string; workload?: string };
  message: string; state: "pending" | "firing" | "resolved" | "silenced"; since_ms: number; resolved_ms?: number | null;
  silenced?: { until_ms: number; comment: string; by: string } | null; escalated_ms?: number | null;
}
interface Rule {
  name: string; enabled: boolean; when: string; severity: Alert["severity"]; samples: number;
  nodes?: string[]; workloads?: string[]; notify: string[]; escalate_after_ms?: number; escalate_to?: string[]; firing: number;
  /** `condition`: written out; `note`: why it may never find anything. `firing` is without those that are silenced. */
  silenced?: number; condition?: string; note?: string;
}
interface Receiver {
  name: string; kind: string; delivered: number; failed: number; dropped: number; waiting: number;
  last_error?: string | null; last_ms?: number | null;
}
interface Verified { ok: boolean; lines: number; first_bad?: number; faults?: { line: number; what: string }[]; head: { id: number; hash: string } }
interface ClusterStatus {
  workloads: number; rollouts: number; moves: number; memory_total: number; cpus_total: number;
  nodes: Record<string, number>; instances: { wanted: number; missing: number; by_state: Record<string, number> };
}
interface LogEntry { node?: string; line?: { time_ns: number; stream: string; text: string; cursor?: string }; notice?: string; error?: string }
interface CommandLine { total?: number; node?: string; ok?: boolean | number; message?: string | null; took_ms?: number; done?: boolean; failed?: number; skipped?: number }

type TagOf<S extends string> = S extends `${infer K}.${string}` ? K : S;
type ElementOf<S extends string> = TagOf<S> extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[TagOf<S>] : HTMLElement;
type Child = Node | string | number | boolean | null | undefined | Child[];
/** Properties of an element; those that begin with `on` are listeners. */
type Props = { [K: `on${string}`]: (event: any) => any } & { [key: string]: any };

/** What a page gets: it lives until `signal` is aborted. */
interface Visit {
  name: string;
  query: URLSearchParams;
  signal: AbortSignal;
  main: HTMLElement;
  /** Puts these into the address, without a new visit. */
  remember(change: Record<string, string | null>): void;
}

/** `true` orders by what the cell says. */
type By<T> = true | ((row: T) => string | number | null | undefined);
/** `width`: in rem, and a share of what is left. `from`: the width of the table, in rem, from which on it is shown; negative: below which it is. */
type Column<T> = [id: string, title: string, width: string, from: number, cell: (row: T) => Child, by?: By<T> | null, numeric?: true];

interface TableSpec<T> {
  label: string;
  columns: Column<T>[];
  key(row: T): string;
  href?(row: T): string;
  /** A column's id, with `-` in front for the other way round. */
  sort?: string;
  none?: Child;
  onsort?(sort: string): void;
}

interface HTMLElementTagNameMap {
  "fleet-table": import("./ui/table.js").FleetTable;
  "time-chart": import("./ui/chart.js").TimeChart;
  "log-view": import("./ui/logs.js").LogView;
}

/** What stands in a fleet, beside its nodes. */
type Standing = { status?: ClusterStatus; workloads?: WorkloadView[]; instances?: InstanceView[]; alerts?: Alert[]; more?: boolean };
/** Something that needs a person. */
type Need = [weight: number, state: string, what: string, href: string, text: string, since?: number | null, alert?: string, all?: string];
type Tone = "good" | "busy" | "warn" | "bad" | "idle";
/** How many nodes of a rollout are so. */
type Counted = "healthy" | "changing" | "failed" | "returning" | "returned" | "unchanged" | "waiting";
type Scheduled = InstanceView & { when: string };
/** A log line; without a stream it is a notice. */
type LogLine = { node: string; cursor: bigint; stream: string; text: string; plain: string };
/** How text of a terminal looks from some point on. */
type Pen = { ink: string; paper: string; set: Set<string> };
type Series = [key: string, label: string, colour: string];
type Tab = [id: string, title: string, show: (into: HTMLElement, alive: AbortSignal, extra?: string) => void];
/** Events that came together; `flood`: some are missing, so all may have changed. */
type Batch = { events: FleetEvent[]; flood: boolean };
/** When data is loaded anew: after which events, and every so many ms; what becomes of an error. */
type Freshness = { wants?: (event: FleetEvent) => boolean; every?: number; fail?: (error: unknown) => void };
type ListPage<T> = Omit<TableSpec<T>, "onsort" | "sort"> & {
  sort: string; above?: Child; load: string | (() => Promise<any>); rows?: (data: any) => T[]; wants?: (e: FleetEvent) => boolean; every?: number;
};
