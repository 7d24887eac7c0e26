"""Short texts as people say them to a device: orders, numbers, digits, times, words alone.

Read sentences teach a model little of them: a digit said alone has no neighbours to guess it from.
`draw` gives one text in the alphabet of the labels (A-Z, apostrophe, space).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ee_ref.phrases.numbers import spoken
from words import COMMANDS, DIGITS, OTHERS, WAKE

Draw = Callable[[np.random.Generator], str]

_ORDINALS = ("FIRST", "SECOND", "THIRD", "FOURTH", "FIFTH", "SIXTH", "SEVENTH", "EIGHTH", "NINTH",
             "TENTH", "ELEVENTH", "TWELFTH", "THIRTEENTH", "FOURTEENTH", "FIFTEENTH", "TWENTIETH",
             "TWENTY FIRST", "TWENTY SECOND", "TWENTY FIFTH", "THIRTIETH", "THIRTY FIRST")


def number(value: int) -> str:
    """0 to 999,999 in words, as said in American English: TWO HUNDRED SEVEN."""
    return " ".join(spoken(value)[0])


def _digits(rng: np.random.Generator) -> str:
    """One to ten digits; zero may be said OH, and a digit may be doubled in words."""
    said = [DIGITS[digit] for digit in rng.integers(10, size=rng.integers(2, 11))]
    if rng.random() < 0.2:
        said = ["OH" if word == "ZERO" else word for word in said]
    if rng.random() < 0.1:
        said.insert(int(rng.integers(len(said))), "DOUBLE")
    return " ".join(said)


def _number(rng: np.random.Generator) -> str:
    """Small numbers more often than large ones."""
    return number(int(rng.integers(rng.choice((21, 101, 1000, 10000)))))


def _clock(rng: np.random.Generator) -> str:
    hour, minute = number(int(rng.integers(1, 13))), int(rng.choice((0, 5, 10, 15, 20, 30, 40, 45)))
    if rng.random() < 0.25:
        return f"{rng.choice(('HALF PAST', 'QUARTER PAST', 'QUARTER TO', 'TEN PAST'))} {hour}"
    minutes = f" {number(minute)}" if minute >= 10 else " OH FIVE" if minute else ""
    ends = ("", "", " O'CLOCK", " IN THE MORNING", " AT NIGHT", " TONIGHT") if not minutes else (
        "", "", " IN THE MORNING", " IN THE AFTERNOON", " IN THE EVENING", " TOMORROW")
    return f"{hour}{minutes}{rng.choice(ends)}"


_DRAWN: dict[str, Draw] = {
    "digits": _digits,
    "number": _number,
    "clock": _clock,
    "digit": lambda rng: str(rng.choice(DIGITS)),
    "small": lambda rng: number(int(rng.integers(1, 31))),
    "percent": lambda rng: number(int(rng.integers(101))),
    "degrees": lambda rng: number(int(rng.integers(10, 86))),
    "year": lambda rng: f"{number(int(rng.integers(18, 21)))} {number(int(rng.integers(10, 100)))}",
    "ordinal": lambda rng: str(rng.choice(_ORDINALS)),
}
_LISTS = {name: tuple(item.strip().upper() for item in items.split(",")) for name, items in {
    "room": "kitchen, living room, bedroom, bathroom, hall, hallway, garage, office, garden, attic,"
            "basement, dining room, study, nursery, porch, balcony, terrace, stairs, upstairs,"
            "downstairs, guest room, kids' room, laundry room, cellar, closet, conservatory, loft",
    "thing": "light, lights, lamp, lamps, fan, heater, heating, radio, television, tv, speaker,"
             "music, oven, kettle, coffee machine, air conditioning, alarm, camera, printer,"
             "computer, dishwasher, washing machine, dryer, projector, screen, vacuum, humidifier,"
             "purifier, sprinkler, pump, boiler, microwave, toaster, charger, socket, plug, switch,"
             "chandelier, night light, floor lamp, desk lamp, ceiling light, stove, fireplace",
    "opening": "door, front door, back door, window, windows, blinds, blind, curtains, curtain,"
               "gate, garage door, shutters, shutter, skylight, awning, drawer, lock, valve",
    "colour": "red, green, blue, yellow, orange, purple, pink, white, warm white, cold white,"
              "violet, turquoise, brown, black, grey, amber, magenta, golden, silver, lime",
    "level": "low, medium, high, maximum, minimum, half, full, quiet, loud, bright, dim, soft",
    "quantity": "volume, brightness, temperature, speed, heat, sound, bass, contrast, humidity",
    "genre": "jazz, rock, pop, classical, country, blues, folk, hip hop, dance, ambient, piano,"
             "soul, reggae, metal, opera, latin, disco, electronic, acoustic, christmas, relaxing,"
             "workout, dinner, party, sleep, study, holiday, morning, summer, children's",
    "media": "music, song, track, album, playlist, station, podcast, audiobook, film, movie, show,"
             "news, video, chapter, episode, radio, record, artist, concert, story",
    "day": "today, tonight, tomorrow, monday, tuesday, wednesday, thursday, friday, saturday,"
           "sunday, the weekend, this evening, tomorrow morning, this afternoon, next week, now",
    "month": "january, february, march, april, may, june, july, august, september, october,"
             "november, december",
    "person": "mum, mom, dad, john, mary, anna, peter, the doctor, my sister, my brother, grandma,"
              "the office, sarah, david, michael, emma, tom, alice, my wife, my husband, lucy,"
              "paul, james, robert, linda, susan, the school, the plumber, my boss, uncle ben",
    "place": "home, work, the office, the station, the airport, london, paris, new york, berlin,"
             "chicago, boston, the supermarket, the hospital, the beach, school, the bank, rome,"
             "the library, the pharmacy, the nearest hotel, dublin, sydney, texas, california",
    "good": "milk, bread, butter, eggs, cheese, apples, bananas, coffee, tea, sugar, rice, pasta,"
            "potatoes, tomatoes, soap, paper towels, batteries, chicken, fish, salt, pepper, flour,"
            "olive oil, orange juice, water, onions, carrots, yoghurt, chocolate, toothpaste",
    "job": "call the bank, water the plants, take out the trash, feed the cat, walk the dog,"
           "pick up the kids, pay the rent, buy flowers, do the laundry, take my pills,"
           "wash the car, send the letter, book the table, clean the kitchen, check the oven",
    "unit": "seconds, minutes, hours, days, minute, hour, second",
    "measure": "metres, miles, kilometres, inches, feet, pounds, kilos, grams, ounces, cups,"
               "litres, gallons, dollars, euros, cents, pence, yards, tons, spoons, degrees",
    "direction": "left, right, up, down, forward, backward, back, straight ahead, north, south,"
                 "east, west, in, out, around, over there, to the left, to the right, closer, away",
    "way": "please, now, right now, again, a bit, a little, all the way, slowly, quickly, later,"
           "once more, for me, everywhere, immediately, at once, completely, halfway, gently",
    "name": ", ".join(wake.lower() for wake in WAKE) + ", robot, assistant, house, system, machine,"
            "hey there, hello, listen, okay computer, buddy, jarvis",
    "mode": "night mode, party mode, reading mode, movie mode, eco mode, away mode, quiet mode,"
            "holiday mode, sleep mode, cleaning mode, guest mode, manual, automatic, child lock,"
            "do not disturb, airplane mode, dark mode, standby, test mode, safe mode",
}.items()}

_ORDERS = """
(turn | switch) (on | off) [all] [the] [{room}] {thing} [{way}]
(turn | switch) [the] [{room}] {thing} (on | off) [in the {room}] [at {clock}]
{thing} (on | off) [please]
[the] {room} {thing} (on | off)
[please] (dim | brighten | light up) the {room} [(to {percent} percent | {way})]
(set | change | turn) the {room} {thing} to ({colour} | {percent} percent | {level} | {mode})
make (it | the {room} [{thing}]) (warmer | cooler | brighter | darker | {colour} | louder | quieter)
(open | close | shut | lock | unlock | raise | lower) [all] the [{room}] {opening} [{way}]
(is | are) the [{room}] ({opening} | {thing}) (open | closed | locked | on | off | ready)
(set | put) the (temperature | heating | thermostat) [in the {room}] to {degrees} [degrees]
(increase | decrease | raise | lower | reduce | turn up | turn down) the {quantity} [(to | by)
 {percent} [percent]] [in the {room}]
(turn | bring) the {quantity} (up | down) [a bit] [in the {room}]
{quantity} (up | down | {percent} | {level})
what is the (temperature | weather | humidity) [(in | at)] [the] ({room} | {place}) [{day}]
(will it | is it going to) (rain | snow | be warm | be cold) {day}
(what time is it [in {place}] | what day is it [{day}] | what's the date)
(play | start | put on) [some] {genre} [music] [in the {room}]
(play | put on) (the [next | last | previous] {media} | my {genre} playlist | something {level})
(next | previous | skip [this] | repeat [this] | shuffle | pause | resume | stop) [the] [{media}]
(louder | quieter | stop | pause | mute | unmute | continue | go on | enough | cancel | thank you)
(add | put) ({media} | this) to [my] ({genre} playlist | favourites | library)
add [{small}] {good} [and {good}] to [my | the] shopping list
(remove | delete | take) {good} (from | off) the list
(set | start) [a | an] (timer | alarm) for {small} {unit}
(set an alarm | wake me [up]) (at | for) {clock} [on {day}]
(how much time is left | cancel the timer | stop the alarm | snooze [for {small} minutes])
remind me (to {job} | about the meeting) [{day}] [at {clock}] [in {small} {unit}]
(call | phone | ring | text | message | send a message to) {person} [{way}]
(what is on | what's in | read) my (calendar | list | diary | mail) [for] {day}
(navigate | drive | take me | show me the way) to {place}
how (far | long) is it to {place} [by car | on foot]
(go | move | turn | step | look | walk | drive) {direction} [{small} (steps | metres)] [{way}]
(go | come) {direction} and (stop | wait | turn {direction} | {job})
(start | stop | pause | begin | finish) [the] (recording | cleaning | engine | game | {thing})
(activate | enable | disable | start | leave | cancel) {mode}
(channel | page | floor | platform | line | number | room | level | option | gate | step) {number}
(dial | call | the number is | my code is | pin) {digits}
(select | choose | pick | take | press | open) (number | option | button | item) {digit}
{small} (times | plus | minus | divided by) {small}
{number} {measure}
{number} point {digit} [{measure}]
[the] {ordinal} of {month} [{year}]
{month} [the] {ordinal}
(it is | at | until | from | before | after | around) {clock}
{clock}
{number}
{name} [{way}]
{name} (turn on the {thing} | what time is it | {job} | stop | play [some] {genre} | help)
(good (morning | night | evening | afternoon) | hello | goodbye | bye | see you {day}) [{person}]
(yes | no | okay | sure | maybe | never | not now | of course | that's right | that's wrong) [{way}]
(bring | get | fetch | give | hand) me (the | my | some) ({good} | shoes | book | newspaper |
 phone | keys | jacket | glasses | bag | juice | blanket)
(I am | I'm) (cold | hot | tired | hungry | home | leaving | going to {place} | too warm | bored)
(it is | it's) too (dark | bright | loud | quiet | hot | cold | noisy) [in [the] {room}] [in here]
(where is | find | look for) (my phone | the remote | {person} | my keys | the {good})
(show | hide | read) [me] (the | my) (messages | pictures | weather | news | map | {media})
(lights | music | heating | camera | action | action please) [{way}]
(translate | spell | define | say) {good} [in] [(french | german | spanish | korean | italian)]
(change | set) the language to (english | french | german | spanish | chinese | korean | italian)
(arm | disarm) the (alarm | system | {room}) [with code {digits}]
""".strip().replace("\n ", " ").splitlines()

_SYMBOL = re.compile(r"\{\w+\}|[()\[\]|]|[^\s()\[\]{}|]+")


def expand(template: str, rng: np.random.Generator) -> str:
    """One text of a template, each choice equally likely: `(a | b)` one of these, `[a]` or
    nothing, `{list}` an item of a list."""
    symbols = _SYMBOL.findall(template)

    def alternatives(end: str) -> list[str]:
        """What `end` closes: the words of one alternative, drawn."""
        found: list[list[str]] = [[]]
        while symbols and symbols[0] != end:
            symbol = symbols.pop(0)
            if symbol == "|":
                found.append([])
            elif symbol == "(":
                found[-1] += alternatives(")")
            elif symbol == "[":
                words = alternatives("]")
                found[-1] += words if rng.random() < 0.5 else []
            elif symbol[0] == "{":
                found[-1].append(_item(symbol[1:-1], rng))
            else:
                found[-1].append(symbol)
        del symbols[:1]
        return found[rng.integers(len(found))]

    return " ".join(alternatives("")).upper()


def _item(name: str, rng: np.random.Generator) -> str:
    if name in _DRAWN:
        return _DRAWN[name](rng)
    return _LISTS[name][rng.integers(len(_LISTS[name]))]


def _alone(words: Sequence[str], most: int, rng: np.random.Generator) -> str:
    """One of the words half of the time, else up to `most` of them in a row."""
    count = 1 if rng.random() < 0.5 else int(rng.integers(2, most + 1))
    return " ".join(words[index] for index in rng.integers(len(words), size=count))


def _order(rng: np.random.Generator) -> str:
    return expand(_ORDERS[rng.integers(len(_ORDERS))], rng)


def draw(rng: np.random.Generator, common: Sequence[str] = ()) -> str:
    """A short text: an order (half of them), digits, the words of `words.py`, or words of
    `common`, the most frequent words of the language, if given."""
    kinds: list[tuple[Draw, float]] = [
        (_order, 0.5), (partial(_alone, DIGITS, 6), 0.15), (_digits, 0.1),
        (partial(_alone, COMMANDS + OTHERS + WAKE + DIGITS, 5), 0.1)]
    if common:
        kinds.append((partial(_alone, common, 3), 0.15))
    shares = np.array([share for _, share in kinds])
    make = kinds[rng.choice(len(kinds), p=shares / shares.sum())][0]
    return make(rng)
