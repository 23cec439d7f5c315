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
        row("packets dropped by the machine's own queue", lambda x: x["dropped"]["queue"], digits=0, ratio=False),
        row("cores of the servers at rest, all connected", lambda x: x["cores_connected"], digits=3, ratio=False),
    ]


def storm_text(args, storm):
    why = "" if storm["devices_each"] == args.devices else (
        f" (before, so many left that the {args.nodes - storm['killed']} nodes that stay have room for all: a node's "
        f"descriptors allow {storm['room']:,})")
    return (f"Ended by kill -9: {storm['killed']} of the {args.nodes} nodes, with {storm['devices_each']:,} devices "
            f"each{why}. {storm['struck']:,} devices lost their node; {storm['recovered']:,} resumed by their tokens and "
            f"{storm['reset']:,} began anew, the last after {storm['back_s']:.1f} s. No node let in more than "
            f"{storm['fastest_per_s']:,.0f} in a second; the busiest held {storm['busiest']:,.0f} in the end. "
            f"{storm['refused']:,} times a device was told to come later, {storm['errors']:,} times it found nobody.")


def page(args, info, node, floor):
    text = [f"{info['cpu']}, {info['cores']} cores, {info['memory_gib']} GiB, {info['distro']}, kernel "
            f"{info['kernel']}; commit {info['commit']}, {info['date']}; `{info['command']}`.", "",
            f"{info['devices']:,} devices on {args.nodes} nodes of {args.devices:,}; the whole took {info['took_s'] / 60:.1f} min.", "",
            "| what | floor | kickoffd | ratio | reach |", "|---|---|---|---|---|"]
    text += [f"| {' | '.join(cells)} |" for cells in rows(args, node, floor)]
    if info["set_meanwhile"]:
        text += ["", "Set for the time of the run (`--prepare`): "
                 + ", ".join(f"{name} {value}" for name, value in info["set_meanwhile"].items()) + "."]
    text += [""]
    for side in (node, floor):
        text += [f"- {'' if j['kept'] else '**not**: '}{j['sentence']}" for j in (side or {}).get("judgements", [])]
    if "storm" in node:
        text += ["", storm_text(args, node["storm"])]
    return "\n".join(text)


def write_results(text):
    path = os.path.join(machine.ROOT, "loadtest", "RESULTS.md")
    with open(path) as f:
        whole = f.read()
    before, rest = whole.split(BEGIN, 1)
    with open(path, "w") as f:
        f.write(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}")
