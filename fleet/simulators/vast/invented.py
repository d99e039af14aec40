"""What the simulated Vast.ai does because nobody knows what the real one does there (providers.md 2, 7)."""

from __future__ import annotations

from fleet.simulators.invented import Invented

INVENTED = (
    Invented("all machines, prices, places and scores", "there is no recording of a market"),
    Invented("a slice's ask comes back under its own id when its rental ends", "whether ids are used again is unknown"),
    Invented("slices of one machine share its GPUs: the whole is gone when a part is rented", "gpu_frac implies it"),
    Invented(
        "absent search filters filter nothing, but rentable=true and rented=false", "the spec and the client differ"
    ),
    Invented("a search without limit gives 64 rows", "only the volume search's default is documented"),
    Invented("a reserved search shows 10 % off", "the discounts are not documented"),
    Invented("too early a create moves the next one 12 s away", "the penalty's meaning is not documented"),
    Invented(
        "search 429s are plain text, destroy's full, others {detail}", "which endpoint sends which form", "throttle"
    ),
    Invented("a bid too low: 400 invalid_price with new_contract, stopped", "7.Vast.5: the body is open"),
    Invented("out of credit on create: 400", "7.Vast.1: status and body are open", "out_of_credit_body"),
    Invented("an account too young: 403", "7.Vast.1: the status is open", "spend_rate_limit"),
    Invented("new rows are in lists after 2 s; show is null until then", "7.Vast.6: how late is open", "list.lag"),
    Invented("null 6 s, created 4 s, loading 70 s, then running", "7.Vast.6: the statuses really passed are open"),
    Invented("exited, offline and stopped bill no GPU, unknown and frozen do", "only frozen is documented"),
    Invented(
        "outbid lasts 900 s, then the bid wins again by itself", "how long is the market's affair", "/_sim/preempt"
    ),
    Invented("an empty account's instances are deleted after a day", "the grace depends on past spending"),
    Invented("of a stopped instance's disk only /workspace outlives its body", "bodies here have no other disk"),
    Invented("the image's EXPOSE lines are not mapped", "the simulator does not read images"),
    Invented("a template's hash is over all fields that a user gives", "which fields count is open: 7.Vast.8"),
    Invented("env values of an answer's extra_env are shown in full", "no recording says that they are masked"),
    Invented("execute runs nothing", "bodies have no shell of the provider's"),
    Invented("an unknown path is 404 not_found, a wrong method 405", "no body of either is known"),
    Invented("a volume of another machine is refused with 400", "the error is not documented"),
    Invented("at most 64 secrets of 4096 characters", "max_secrets and input_too_long have no documented figures"),
    Invented("traffic is not billed", "a body's traffic is not measured"),
    Invented("SSH keys are in SSH_PUBLIC_KEY; sshd is the image's own where it has one", "Vast installs its own"),
    Invented("invoices are always empty", "there are no payments here"),
)
