#!/usr/bin/env python3
"""Rows of settings in which every legal pair of values of two settings occurs at least once, few of them and always the same.

pairwise.py [--all] NAME=V,V,... ...  [--not NAME=V NAME=V ...]...
--all prints every legal combination instead. --not names values that do not go together.
"""
import itertools
import sys


def parse(words):
    names, values, forbidden, every = [], [], [], False
    at = 0
    while at < len(words):
        if words[at] == "--all":
            every = True
            at += 1
        elif words[at] == "--not":
            at += 1
            rule = {}
            while at < len(words) and not words[at].startswith("--"):
                name, value = words[at].split("=", 1)
                rule[name] = value
                at += 1
            forbidden.append(rule)
        else:
            name, of = words[at].split("=", 1)
            names.append(name)
            values.append(of.split(","))
            at += 1
    return names, values, forbidden, every


def main():
    names, values, forbidden, every = parse(sys.argv[1:])
    rows = [row for row in itertools.product(*values)
            if not any(all(row[names.index(n)] == v for n, v in rule.items()) for rule in forbidden)]
    if every:
        chosen = rows
    else:
        pairs = [{(i, row[i], j, row[j]) for i, j in itertools.combinations(range(len(names)), 2)} for row in rows]
        missing = set().union(*pairs)
        chosen = []
        while missing:
            best = max(range(len(rows)), key=lambda k: len(pairs[k] & missing))   # the first of the best
            chosen.append(rows[best])
            missing -= pairs[best]
    for row in chosen:
        print(" ".join(f"{n}={v}" for n, v in zip(names, row)))


main()
