// What /events sends. Keys of the reference system's metrics may be absent before the first request.

export interface Stage {
  p50_ms: number;
  p95_ms: number;
  p99_ms: number;
  avg_ms: number;
  count: number;
}

// Totals since the start of the server.
export interface Instance {
  id: number;
  name: string;
  model: string;
  backend: string;
  device: string;
  precision: string;
  details: string;
  workers: number;
  requests: number;
  pairs: number;
  tokens: number;
  busy_ms: number;
  multiply_adds: number; // 0 where the backend does not count them
}

export interface Snapshot {
  experiment_name: string;
  experiment_description: string;
  backend_type: string;
  device: string;
  is_running: boolean;
  count?: number;
  query_count: number;
  instant_latency_ms?: number;
  p95_ms?: number;
  throughput_qps?: number;
  avg_throughput_qps?: number;
  cpu_percent: number;
  gpu_memory_mb: number;
  instance_metrics?: {avg_utilization_pct: number};
  stage_breakdown?: {tokenize: Stage; queue_wait: Stage; model_inference: Stage};
  stage_percentages?: {tokenize_pct: number; queue_wait_pct: number; inference_pct: number; other_pct: number};
  last_tokenize_ms?: number;
  last_inference_ms?: number;
  last_queue_wait_ms?: number;
  padding_analysis?: {
    avg_padding_pct: number;
    last_padding_pct: number;
    last_max_seq_length: number;
    last_avg_seq_length: number;
  };
  queue_sizes?: {tokenizer_queue_size: number; model_queue_size: number; total_queue_size: number};
  worker_stats?: {worker_id: number; avg_ms: number; p95_ms: number; query_count: number; request_count: number}[];
  rerankd: {
    tokens: {per_second: number; real: number; truncated_pairs: number; padding_waste_ratio: number};
    worker_utilization_pct: number;
    peak_multiply_adds_per_s: number; // 0 = not measured
    elapsed_s: number;
    queued_requests: number;
    rejected: number;
    cancelled: number;
    expired: number;
  };
  server: {model: string; version: string; in_flight: number; instances: Instance[]};
}

// Parallel columns; timestamps in seconds since the server's reset.
export interface History {
  timestamps: number[];
  latencies: number[];
  throughput: number[];
  queries: number[];
  cpu_percent: number[];
  gpu_memory_mb: number[];
  queue_wait_ms: number[];
  tokenize_ms: number[];
  inference_ms: number[];
  padding_pct: number[];
  tokenizer_queue_size: number[];
  model_queue_size: number[];
}
