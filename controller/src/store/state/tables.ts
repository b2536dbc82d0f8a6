/**
 * The state of a controller, table by table. Times are ISO 8601 UTC text; JSON is text; SHA-256 is hexadecimal.
 * One set of migrations makes them on every engine (`migrations.ts`).
 */
import type { ColumnType, Generated } from 'kysely'

type Json<T> = ColumnType<string, string, string> & { readonly __json?: T }
type Flag = 0 | 1

export interface Tables {
  /** One row a deployment fact: deployment_id, signer_lease, ... */
  meta: { key: string; value: string }
  hosts: {
    agent_id: string
    /** Base64. */
    public_key: string
    hostname: string
    facts: Json<'HostFacts'>
    group_name: string
    tags: Json<'string[]'>
    /** A protected host is never contained by a playbook. */
    protected: Flag
    criticality: 'low' | 'normal' | 'high' | 'critical'
    enrolled_at: string
    last_seen_at: string | null
    connected_session: string | null
    boot_id: string | null
    trust_version: number
    /** Highest command number given out, per lease. */
    command_lease: number
    command_seq: number
    /** Last receipt taken in, and the digest of its payload. */
    receipt_seq: number
    receipt_sha256: string
    containment: Json<'containment of the status message'>
    collectors: Json<'CollectorStatus[]'>
    revoked_at: string | null
    /** It has no agent: its events came out of recordings. When the first of them did. */
    imported_at: Generated<string | null>
    /** Where each class comes from, as the agent said last. */
    sources: Generated<string>
    /** JSON of the AgentRun of the last hello. */
    run: Generated<string | null>
    /** The host's own time when it spoke last; a host whose disk was put back says less. */
    said_at: Generated<string | null>
  }
  join_tokens: {
    token_id: string
    /** Key of the proof, sealed with the controller's wrapping key, base64. */
    key_wrapped: string
    group_name: string
    created_by: string
    created_at: string
    expires_at: string
    max_uses: number
    uses: number
    revoked_at: string | null
  }
  /** Where each stream of events stands: produced = stored + spooled + dropped. */
  streams: {
    agent_id: string
    epoch: string
    class: string
    /** Everything up to here is durable or known to be lost; what was acked. */
    acked_seq: number
    stored: number
    /** Numbers that were told to be lost, and `invalid`. */
    dropped: number
    /** Events that came and did not fit the schema. */
    invalid: number
    /** As the agent said last. */
    produced: number
    spooled: number
    reported_dropped: number
    updated_at: string
    /** Checksum that the agent gave with `acked_seq`. */
    chain: Generated<number | null>
    /** Of an epoch that has ended: events that go on in a later one. */
    moved: Generated<number | null>
  }
  gaps: {
    id: Generated<number>
    agent_id: string
    epoch: string
    class: string
    from_seq: number
    to_seq: number
    reason: string
    recorded_at: string
    /** When what is missing happened, as far as the host knows. */
    first_at: Generated<string | null>
    last_at: Generated<string | null>
  }
  /** What a host could see of a class, and when it could not; `to_at` null: still so. */
  coverage_windows: {
    id: Generated<number>
    agent_id: string
    class: string
    source: string
    quality: string
    reason: string | null
    why: string | null
    from_at: string
    to_at: string | null
    /** Lost within it, as far as they are counted. */
    events: number
  }
  /** Epochs that ended on their host, and why: each is told once. */
  epoch_ends: {
    agent_id: string
    epoch: string
    into_epoch: string
    why: string
    at: string
    recorded_at: string
  }
  /** Where produced = stored + spooled + dropped did not hold; `closed_at` null: still so. */
  accounting_differences: {
    id: Generated<number>
    agent_id: string
    epoch: string
    class: string
    kind: string
    events: number
    why: string
    opened_at: string
    closed_at: string | null
    closed_why: string | null
  }
  /** What a host is made of, as it told last. Primary key (agent_id, kind, key). */
  inventory_items: {
    agent_id: string
    kind: string
    key: string
    label: string
    facts: Json<'InventoryFacts'>
    /** The whole telling that it was part of last; empty: it came or changed since. */
    snapshot: string
    first_seen_at: string
    changed_at: string
  }
  /** The last whole telling. Primary key (agent_id, kind). */
  inventory_kinds: { agent_id: string; kind: string; told_at: string; is_whole: Flag; why: string | null }
  /** Recordings that were or are being taken in. The same file for the same host is one, `attempt` 0, until somebody asks for it again. */
  imports: {
    id: string
    /** Of the decompressed file, as whoever sends it says. */
    file_sha256: string
    file_name: string
    read_as: string
    /** Host that all of its records are given to; empty: each names its own. */
    host: string
    attempt: number
    shift_ms: number | null
    state: 'running' | 'complete'
    /** Lines taken so far; the next one is one more. */
    lines: number
    records: number
    stored_records: number
    stored_events: number
    refused: Json<'Record<code, {count, examples}>'>
    hosts: Json<'Record<agent id, {hostname, events}>'>
    created_by: string
    created_at: string
    updated_at: string
    ended_at: string | null
  }
  /** Last number given out in each stream of an import. */
  import_streams: { import_id: string; agent_id: string; class: string; seq: number }
  /** Batches that were acked and are not yet both detected upon and in the telemetry store. */
  indicators: {
    n: Generated<number>
    type: string
    /** In its one spelling. */
    value: string
    source: string
    valid_from: string
    valid_until: string | null
    /** 0..100. */
    confidence: number
    tlp: string | null
    labels: Json<'string[]'>
    description: string | null
    /** What the source calls it. */
    reference: string | null
    sightings: number
    last_sighted_at: string | null
    /** The import that said it last. */
    import_id: string
    created_at: string
    updated_at: string
  }
  /** Patterns that cannot be matched on the stream, and why. */
  indicator_patterns: {
    source: string
    reference: string
    pattern: string
    code: string
    why: string
    created_at: string
  }
  indicator_feeds: {
    name: string
    kind: string
    url: string
    options: Json<'FeedOptions'>
    /** 0: only when it is asked for. */
    every_s: number
    /** Where the next fetch begins, in the words of the source. */
    added_after: string | null
    created_by: string
    created_at: string
    last_run_at: string | null
    last_ok_at: string | null
    last_error: string | null
    last_counts: string | null
  }
  /** New indicators, looked up in stored events. */
  indicator_hunts: {
    id: string
    /** Indicators with from_n < n <= to_n. */
    from_n: number
    to_n: number
    state: string
    /** What it is at, and the last value that it looked at. */
    kind: string
    after: string
    looked_at: number
    hits: number
    /** Events past the limit, and indicators of types that stored events cannot be asked for. */
    skipped: number
    why: string | null
    created_at: string
    updated_at: string
  }
  ingest_batches: {
    id: Generated<number>
    agent_id: string
    epoch: string
    class: string
    first_seq: number
    last_seq: number
    count: number
    gaps: Json<'Gap[]'>
    body_bytes: number
    received_at: string
    detected: Generated<Flag>
    /** In the telemetry store. The row goes when it is both. */
    stored: Generated<Flag>
    /** Block of the telemetry store that it belongs to, once planned; a block is inserted again under the same token after a crash. */
    block_id: string | null
  }
  /** Goes with its batch. */
  ingest_bodies: {
    batch_id: number
    /** zstd of NDJSON, as received. */
    body: Uint8Array
  }
  /** What correlations have taken and may still count, a row for the part of a batch that expires together. */
  correlation_journal: {
    id: Generated<number>
    expires_ms: number
    count: number
    /** Form of the body. */
    version: number
    body: Uint8Array
  }
  /** Batches that were acked and could not be read again; each is counted as a gap, unless the telemetry store has it (`stored`). */
  ingest_damaged: {
    batch_id: number
    agent_id: string
    epoch: string
    class: string
    first_seq: number
    last_seq: number
    count: number
    stored: Flag
    detected: Flag
    /** Of the latest ones only. */
    body: Uint8Array | null
    why: string
    set_aside_at: string
  }
  signals: {
    id: string
    agent_id: string
    detector: string
    rule_id: string
    rule_title: string
    rule_sha256: string
    level: string
    techniques: Json<'string[]'>
    tactics: Json<'string[]'>
    event_id: string
    event_time: string
    event: Json<'Event'>
    alert_id: string | null
    created_at: string
  }
  alerts: {
    id: string
    agent_id: string
    dedup_key: string
    title: string
    severity: string
    confidence: number
    parts: Json<'ConfidencePart[]'>
    techniques: Json<'string[]'>
    tactics: Json<'string[]'>
    entities: Json<'Entities'>
    status: 'open' | 'closed'
    verdict: string | null
    signal_count: number
    first_seen: string
    last_seen: string
    incident_id: string | null
    created_at: string
    updated_at: string
  }
  incidents: {
    id: string
    title: string
    severity: string
    confidence: number
    parts: Json<'ConfidencePart[]'>
    /** What confidence and severity alone say. act: a playbook may act by itself; ask: an analyst decides; log: it is kept. */
    decision: 'act' | 'ask' | 'log'
    /** Where it goes in effect: the decision, or `ask` once something was handed to a person. */
    route: 'act' | 'ask' | 'log'
    /** Why it was handed to a person although the decision was another; set by respond. */
    escalated_why: string | null
    /** It turned out to be part of that incident and lives on there. */
    merged_into: string | null
    status: 'open' | 'in_progress' | 'contained' | 'closed'
    verdict: string | null
    hosts: Json<'AgentId[]'>
    techniques: Json<'string[]'>
    tactics: Json<'string[]'>
    assignee: string | null
    first_seen: string
    last_seen: string
    created_at: string
    updated_at: string
  }
  /**
   * What an incident can be found again by: process lineage, account on a host, hash, address, host.
   * Primary key (kind, value, incident_id); index on incident_id. Indexes wanted beside it: alerts (dedup_key, last_seen),
   * alerts (incident_id), incidents (status, decision), runs (incident_id), runs (state).
   */
  incident_links: {
    kind: 'process' | 'account' | 'hash' | 'address' | 'host'
    value: string
    incident_id: string
    last_seen: string
  }
  /** The text that a run goes by, also when the file has changed since. Primary key sha256. */
  playbook_versions: { sha256: string; playbook_id: string; text: string; first_used_at: string }
  /** One run a playbook, incident and host: `id` is made of the three. */
  runs: {
    id: string
    playbook_id: string
    playbook_sha256: string
    incident_id: string | null
    agent_id: string | null
    state: 'running' | 'waiting' | 'succeeded' | 'failed' | 'refused' | 'cancelled'
    why: string | null
    variables: Json<'Record<string, unknown>'>
    started_by: string
    started_at: string
    updated_at: string
    ended_at: string | null
  }
  /** Primary key (run_id, step_id); written before the step's effect and after it. */
  run_steps: {
    run_id: string
    step_id: string
    /** Order of the start within the run, from 1. */
    n: number
    type: string
    state: 'running' | 'succeeded' | 'failed' | 'refused' | 'skipped'
    inputs: Json<'Record<string, unknown>'>
    outputs: Json<'Record<string, unknown>'>
    command_id: string | null
    why: string | null
    started_at: string
    ended_at: string | null
  }
  commands: {
    id: string
    agent_id: string
    type: string
    args: Json<'CommandArgs'>
    risk: string
    state: string
    actor: string
    reason: string
    incident_id: string | null
    run_id: string | null
    playbook: string | null
    idempotency_key: string | null
    /** One-time code that frees the host locally, sealed with the wrapping key, base64. */
    release_code_wrapped: string | null
    created_at: string
    /** The intent is not signed any more after this. */
    expires_at: string
    delivered_at: string | null
    /** No final receipt by then: unknown. */
    deadline_at: string | null
    session: string | null
    lease: number | null
    seq: number | null
    payload_sha256: string | null
    code: string | null
    why: string | null
    evidence: Json<'CommandEvidence'> | null
    updated_at: string
  }
  command_transitions: {
    command_id: string
    n: number
    state: string
    at: string
    detail: Json<'Record<string, unknown>'>
  }
  receipts: {
    agent_id: string
    receipt_seq: number
    cmd_id: string | null
    state: string
    code: string | null
    /** The signed envelope, as received. */
    envelope: string
    payload_sha256: string
    /** false: the chain or the signature did not hold; kept as evidence, never believed. */
    valid: Flag
    received_at: string
  }
  audit: {
    n: number
    at: string
    actor: string
    action: string
    object_type: string
    object_id: string
    detail: Json<'Record<string, unknown>'>
    record: string
    prev_sha256: string
    sha256: string
  }
  api_tokens: {
    id: string
    name: string
    token_sha256: string
    role: string
    created_by: string
    created_at: string
    expires_at: string | null
    last_used_at: string | null
    revoked_at: string | null
  }
}
