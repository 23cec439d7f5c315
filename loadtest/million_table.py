"""What a run of loadtest/million came to, as a page, and where it is written down."""

import os

import million_machine as machine

BEGIN, END = "<!-- million:begin -->", "<!-- million:end -->"
CONNECT_REACH, START_REACH, MEMORY_REACH = 1.5, 1.3, 1.2


def rows(args, node, floor):
    """(what, floor, kickoffd, ratio or None, what it should reach or None)"""
    total = args.nodes * args.devices

    def row(what, of, digits=2, scale=1, reach=None, ratio=True):
        a, b = (of(floor) / scale if floor else None), of(node) / scale
        told = f"{b / a:.2f}" if ratio and a else "-"
        return (what, "-" if a is None else f"{a:,.{digits}f}", f"{b:,.{digits}f}", told,
                "" if reach is None else f"≤ {reach}")
    return [
        row("all connected, s", lambda x: x["connect_s"], reach=CONNECT_REACH),
        row("told, p50 after the start's acknowledgement, s", lambda x: x["start_ms"]["p50"], scale=1e3),
        row("told, p99, s", lambda x: x["start_ms"]["p99"], scale=1e3),
        row("told, last device, s", lambda x: x["start_ms"]["max"], scale=1e3, reach=START_REACH),
        row("memory of it all, connected and idle, GB", lambda x: x["idle"]["all"], scale=1e9,
            reach=MEMORY_REACH),
        row("- the kernel's part, both ends, per device, B", lambda x: x["idle"]["kernel"], digits=0, scale=total),
        row("- server processes, MB", lambda x: x["idle"]["servers"], digits=0, scale=1e6, ratio=False),
        row("- the same per session, B", lambda x: x["idle"]["servers"], digits=0, scale=total, ratio=False),
        row("- herd processes, MB", lambda x: x["idle"]["herd"], digits=0, scale=1e6),
        row("more memory in use on the machine than before, GB", lambda x: x["idle"]["machine"], scale=1e9),
        row("that at its highest, GB", lambda x: x["peak"], scale=1e9),
        row("CPU of the servers, to connect, core s", lambda x: x["connect_cpu"]["servers"]),
        row("CPU of the herd, to connect, core s", lambda x: x["connect_cpu"]["herd"]),
        row("CPU of the machine, to connect, core s", lambda x: x["connect_cpu"]["machine"]),
        row("CPU of the servers, until all were told, core s", lambda x: x["start_cpu"]["servers"]),
        row("CPU of the machine, until all were told, core s", lambda x: x["start_cpu"]["machine"]),
        row("CPU of the machine, until all had acknowledged, core s", lambda x: x["acked_cpu"]["machine"]),
    ]


def page(args, info, node, floor):
    text = [f"{info['cpu']}, {info['cores']} cores, {info['memory_gib']} GiB, {info['distro']}, kernel "
            f"{info['kernel']}; commit {info['commit']}, {info['date']}; `{info['command']}`.", "",
            f"{info['devices']:,} devices on {args.nodes} nodes of {args.devices:,}.", "",
            "| what | floor | kickoffd | ratio | reach |", "|---|---|---|---|---|"]
    text += [f"| {' | '.join(cells)} |" for cells in rows(args, node, floor)]
    text += [""]
    for side in (node, floor):
        text += [f"- {'' if j['kept'] else '**not**: '}{j['sentence']}" for j in (side or {}).get("judgements", [])]
    storm = node.get("storm")
    if storm:
        text += ["", f"{storm['killed']} of the {args.nodes} nodes killed by kill -9, with {storm['devices_each']:,} "
                 f"devices each: the {args.nodes - storm['killed']} left have descriptors for no more than "
                 f"{storm['room']:,} each." if storm["devices_each"] < args.devices else
                 f"{storm['killed']} of the {args.nodes} nodes killed by kill -9, with {storm['devices_each']:,} "
                 "devices each.",
                 f"{storm['struck']:,} devices were back after {storm['back_s']:.1f} s, {storm['recovered']:,} by their "
                 f"tokens; no node let in more than {storm['fastest_per_s']:,.0f} in a second; "
                 f"{storm['refused']:,} were told to come later, {storm['errors']:,} found nobody."]
    return "\n".join(text)


def write_results(text):
    path = os.path.join(machine.ROOT, "loadtest", "RESULTS.md")
    with open(path) as f:
        whole = f.read()
    before, rest = whole.split(BEGIN, 1)
    with open(path, "w") as f:
        f.write(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}")
