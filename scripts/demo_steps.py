"""The steps of scripts/demo, once recalld is built."""

import argparse
import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from recalld_process import BUILD, MODEL, ROOT, Gone, Recalld, Refused

SAMPLE = os.path.join(ROOT, "data/sample_conversation.ndjson")
QUESTIONS = os.path.join(ROOT, "data/sample_questions.json")
# Of the sample's questions, three about different things.
ASKED = ["What instrument did Daniel take to Rotterdam?", "What is the name of the vet who operated on Biscuit?",
         "What did Nadia find in her cellar?"]
WIDTH = 110
SHOWN = 4
RECALLCTL = os.path.join(BUILD, "app/recallctl/recallctl")


def step(text):
    print(f"\n\033[1m==> {text}\033[0m" if sys.stdout.isatty() else f"\n==> {text}", flush=True)


def size(count):
    return f"{count / 1048576:.1f} MiB" if count >= 1048576 else f"{count / 1024:.1f} KiB"


def milliseconds(value):
    return f"{value / 1000:,.2f} s" if value >= 1000 else f"{value:,.0f} ms"


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("file", nargs="?", default=SAMPLE)
    parser.add_argument("--question")
    parser.add_argument("--max-tokens", type=int, default=32)
    given = parser.parse_args()
    given.file = os.path.abspath(given.file)
    if not os.path.isfile(given.file):
        parser.error(f"there is no file {given.file}")
    given.questions = questions_of(given)
    return given


def questions_of(given):
    """[{"question", "answer", "evidence"}]; a question of the user's own has neither answer nor evidence."""
    if given.question is not None or given.file != SAMPLE:
        return [{"question": given.question or "What did they talk about last?", "answer": None, "evidence": []}]
    with open(QUESTIONS) as file:
        questions = {entry["question"]: entry for entry in json.load(file)}
    return [questions[question] for question in ASKED]


def kill_while_reading(daemon, session, importer):
    """Waits until about half is read, kills, and starts again. Returns tokens read before, and found after."""
    while importer.poll() is None:
        memory = daemon.memory(session)
        if memory["tokens_total"] and memory["tokens_ready"] * 2 >= memory["tokens_total"]:
            break
        time.sleep(0.05)
    before = daemon.memory(session)["tokens_ready"]
    daemon.kill()
    daemon.start()
    return before, daemon.memory(session)["tokens_ready"]


def start_import(daemon, path):
    """Stores the conversation; returns the session and a recallctl that shows how it is read."""
    stored = subprocess.run([RECALLCTL, "--server", daemon.address, "--json", "import", "--no-wait", path],
                            stdout=subprocess.PIPE, text=True)
    if stored.returncode != 0:
        raise Gone(f"recallctl import ended with code {stored.returncode}")
    session = json.loads(stored.stdout)["session"]
    return session, subprocess.Popen([RECALLCTL, "--server", daemon.address, "memory", "--wait", session])


def plain_text(turns):
    """The transcript as one text: what a program without a memory would send."""
    lines, day = ["A conversation:"], None
    for turn in turns:
        if turn["time"] and turn["time"][:10] != day:
            day = turn["time"][:10]
            lines.append(f"\n[{day}]")
        lines.append(f"{turn['speaker'] or turn['role']}: {turn['content']}")
    return "\n".join(lines)


def read_all_again(daemon, session, question, max_tokens):
    """A stateless request with the whole history in it. None when it does not fit the window."""
    text = plain_text(daemon.turns(session)) + f"\n\nQuestion: {question}\nAnswer:"
    try:
        return daemon.ask(None, text, max_tokens=max_tokens)
    except Refused as refusal:
        if refusal.code == "context_length_exceeded":
            return None
        raise


def short(text, room):
    text = " ".join(text.split())
    return text if len(text) <= room else text[:max(room - 1, 0)] + "\u2026"


def span(first, last):
    """"2026-01-11 to 2026-01-24"."""
    days = [time[:10] for time in (first, last) if time]
    return " to ".join(dict.fromkeys(days)) or "no date"


def evidence_of(daemon, session, recall):
    """[(segment, its turns)] of an answer, from the transcript."""
    return [(segment, daemon.some_turns(session, segment["first_turn"], max(segment["turns"], 1)))
            for segment in recall["segments"]]


def show_evidence(evidence, lines):
    """The segments that rank highest and those that hold the answer, oldest first, their turns as in the transcript.
    lines: numbers of the messages that hold the answer, from 1, as in the questions file."""
    ranked = sorted(evidence, key=lambda pair: -pair[0]["score"])
    shown = [pair for at, pair in enumerate(ranked)
             if at < SHOWN or any(turn["index"] + 1 in lines for turn in pair[1])]
    if shown:
        print("    evidence" + (" (* holds the answer):" if lines else ":"))
    for segment, turns in sorted(shown, key=lambda pair: pair[0]["first_turn"]):
        print(f"      {short(span(segment['first'], segment['last']), 24)}, {segment['tokens']} tokens, "
              f"score {segment['score']:.2f}" + (f"; {', '.join(segment['words'])}" if segment["words"] else ""))
        for turn in turns:
            mark = "*" if turn["index"] + 1 in lines else " "
            print(f"      {mark} {turn['speaker'] or turn['role']}: "
                  f"{short(turn['content'], WIDTH - 11 - len(turn['speaker'] or turn['role']))}")
    if len(shown) < len(evidence):
        print(f"      and {len(evidence) - len(shown)} segments that rank lower")


def show_recall(recall):
    if recall["chosen_by"] == "question":
        print(f"    recalled: {len(recall['segments'])} segments, {recall['chosen_tokens']:,} tokens, and the newest "
              f"{recall['recent_tokens']:,}; found in {milliseconds(recall['search_ms'])}")
        counts = collections.Counter(segment["episode"] for segment in recall["segments"])
        for episode in sorted(recall["episodes"], key=lambda episode: -counts[episode["id"]]):
            print(f"    episode #{episode['id']}: {episode['title'] or '(no title)'} "
                  f"({span(episode['first'], episode['last'])}), {counts[episode['id']]} of the segments")
    elif recall["chosen_by"] == "all":
        print("    recalled: the whole history")
    else:
        print(f"    recalled: the newest {recall['recent_tokens']:,} tokens alone")


def show_answer(answer):
    print(f"    answer: {answer['text'].strip()}")
    recall = answer["recall"]
    print(f"    {recall['tokens_reused']:,} tokens reused, {recall['tokens_read']:,} read; "
          f"{milliseconds(recall['first_token_ms'])} to the first token")


def ask_and_show(daemon, session, entry, given, asked):
    """One question with what was recalled for it. Returns the answer, and how many of the messages that hold the
    answer the model saw."""
    answer = daemon.ask(session, entry["question"], given.max_tokens, time_said=asked)
    show_recall(answer["recall"])
    evidence = evidence_of(daemon, session, answer["recall"])
    show_evidence(evidence, entry["evidence"])
    show_answer(answer)
    if entry["answer"]:
        print(f"    (right: {entry['answer']})")
    seen = {turn["index"] + 1 for _, turns in evidence for turn in turns}
    return answer, sum(1 for line in entry["evidence"] if line in seen)


def main():
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="recalld-demo-")
    daemon = Recalld(os.path.join(folder, "data"))
    try:
        run(given, daemon)
        return 0
    except (Gone, Refused, subprocess.CalledProcessError, TimeoutError) as failure:
        print(f"\nerror: {failure}\n{daemon.log_tail()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        daemon.kill()
        shutil.rmtree(folder, ignore_errors=True)


def run(given, daemon):
    step(f"Starting recalld with {os.path.basename(MODEL)}")
    daemon.start()
    print(f"    ready after {milliseconds(daemon.started_in * 1000)} at {daemon.address}")

    step(f"Importing {os.path.relpath(given.file)}; kill -9 follows in the middle of reading")
    begun = time.monotonic()
    session, importer = start_import(daemon, given.file)
    try:
        before, kept = kill_while_reading(daemon, session, importer)
        if importer.wait() != 0:
            raise Gone("recallctl import failed")
    finally:
        if importer.poll() is None:
            importer.kill()
            importer.wait()
    memory = daemon.wait_read(session)
    reading_seconds = time.monotonic() - begun
    print(f"    killed after {before:,} of {memory['tokens_total']:,} tokens; {kept:,} were in memory again at once, "
          "the rest was read on")

    step("What it remembers: when it was said, and the episodes")
    subprocess.run([RECALLCTL, "--server", daemon.address, "memory", session])

    asked = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    answers = []
    for entry in given.questions:
        step(f"Asking: {entry['question']}")
        answers.append(ask_and_show(daemon, session, entry, given, asked))
    first, question = answers[0][0], given.questions[0]["question"]

    step(f"kill -9, start again, the same question: {question}")
    daemon.restart()
    print(f"    ready after {milliseconds(daemon.started_in * 1000)}")
    second = daemon.ask(session, question, given.max_tokens, time_said=asked)
    show_recall(second["recall"])
    show_answer(second)

    step("For comparison: the whole history again, as a request without a memory has to")
    again = read_all_again(daemon, session, question, given.max_tokens)
    if again is None:
        print("    it does not fit the model's window at once")
    else:
        show_answer(again)
    summary(given, memory, answers, second, again, reading_seconds)


def summary(given, memory, answers, second, again, reading_seconds):
    step("Summary")
    first = answers[0][0]
    same = "the same, letter for letter" if first["text"] == second["text"] else "NOT the same"
    reused, read = second["recall"]["tokens_reused"], second["recall"]["tokens_read"]
    after = second["recall"]["first_token_ms"]
    rows = []
    for entry, (answer, found) in zip(given.questions, answers):
        rows += [("question", entry["question"]), ("  answer", short(answer["text"], 76))]
        if answer["recall"]["chosen_by"] == "question" and entry["evidence"]:
            rows.append(("  messages with the answer", f"{found} of {len(entry['evidence'])} recalled"))
    rows += [
        ("before and after kill -9", same),
        ("history", f"{memory['turns']:,} messages, {memory['tokens_total']:,} tokens, "
         f"{len(memory['episodes'])} episodes"),
        ("after kill -9", f"{reused:,} tokens reused, {read:,} read"),
        ("memory on disk", f"{size(memory['bytes_disk'])} ({memory['codec']}); in 16 bits "
         f"{size(memory['bytes_f16'])}, {memory['bytes_f16'] / max(memory['bytes_disk'], 1):.1f} times as much"),
        ("first token before kill -9", milliseconds(first["recall"]["first_token_ms"])),
        ("first token after kill -9", milliseconds(after))]
    if again is not None:
        whole = again["recall"]["first_token_ms"]
        rows.append(("first token, reading all again", f"{milliseconds(whole)}, {whole / after:.0f} times as long"))
    else:
        rows.append(("reading all of it took", milliseconds(reading_seconds * 1000)))
    for name, value in rows:
        print(f"    {name:32}{value}")


if __name__ == "__main__":
    sys.exit(main())
