"""What this simulator makes up, because nobody knows (the numbers are those of providers.md 7)."""

from __future__ import annotations

from fleet.simulators.invented import Invented

KNOBS = (
    *("uptime_zero_forever", "runtime_empty_object", "capacity_all_400", "capacity_phantom", "capacity_text_variant"),
    *("cost_missing", "status_misread", "image_pull_minutes", "error_state", "log_stream_cut", "ratelimit_headers_off"),
    *("rate_limit", "gpu_count_optional", "pool_forbidden", "actions_of_spec_example", "template_id_shown"),
    *("template_names_unique", "drift_fields_off", "pagination_off", "secrets_off", "graphql_410", "pod_key_refused"),
    *("start_without_gpu", "body_exit_restarts"),
)

INVENTED = (
    Invented("prices, and which GPU is where", "the catalogue is not public"),
    Invented("every bearer key is accepted but those in /_sim/keys {refuse}", "no account stands behind it"),
    Invented("the account's quotas are 6000/300000/5000000", "open question 2", "rate_limit"),
    Invented("the words of 402, 409, 410, 413, 5xx and of most 422 entries", "open question 4"),
    Invented("a body that is no JSON is 400", "no record of it"),
    Invented("one hour's credit is asked for as 402", "open question 4"),
    Invented("billing starts with the 201 and includes the image pull", "open question 8: the dearest answer"),
    Invented("a pod is listed at once after 201 and gone at once after DELETE", "open question 9", "list.lag"),
    Invented("`runtime` is null until ready; startedAt comes with RUNNING", "open question 10", "runtime_empty_object"),
    Invented("log ids are TIME/COUNTER; the stream stays open after the exit", "open question 11"),
    Invented("RUNPOD_API_KEY may show, stop and terminate its own pod, and nothing else", "open question 12",
             "pod_key_refused"),
    Invented("a body that exits makes the pod EXITED", "no record; it may be restarted", "body_exit_restarts"),
    Invented("an image that cannot be pulled leaves the pod STARTING, with the words in the system log", "no record"),
    Invented("an entrypoint that cannot be run is ERROR, like error_state", "no record", "error_state"),
    Invented("`template` of a pod is null", "open question 6: the spec says both", "template_id_shown"),
    Invented("a template is in use while a pod made from it lives", "open question 6"),
    Invented("a pod goes on for 5 s PROVISIONING, 20 s STARTING, 5 s RUNNING without runtime", "no record",
             "image_pull_minutes"),
    Invented("a month has 720 hours for disks", "not documented for RunPod"),
    Invented("a network volume that does not exist is 404, one elsewhere 400; in use it cannot be deleted: 400",
             "the spec names no status"),
    Invented("stop, restart and edits of a locked pod are 409", "the spec only says that it prevents them"),
    Invented("a lost host leaves the pod EXITED; /_sim/preempt {how} knows gone and error too", "v1's spot history"),
    Invented("a retried page with a foreign cursor is 422 in our words", "only the status is known"),
    Invented("startSsh and PUBLIC_KEY: several keys are joined by line feeds", "not documented"),
    Invented("more than 10 http ports are 400; more than 50 variables only count as a violation", "console limits"),
    Invented("a pod finds this simulator in RUNPOD_API_BASE_URL and STOKER_RUNPOD_URL", "a rehearsal's network"),
    Invented("ssh.direct without a real body is a port that only greets", "there is nothing to log in to"),
)  # fmt: skip
