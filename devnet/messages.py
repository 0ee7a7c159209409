"""Messages of fictitious customers, each for one department: a skill that organizations learn together.

The departments share most of their words, so that single words do not give them away. Each
department's messages are dealt unevenly to the organizations, so that none sees enough of all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rescind.devnet.people import people

_DEPARTMENTS: dict[str, tuple[str, ...]] = {
    "accounts": (
        "I cannot log in any more, and the password link never arrives.",
        "Please change the email address that my {thing} order was made with.",
        "Two profiles exist under my name, can they become one?",
        "My address is out of date in your system since we moved {when}.",
        "The site says that my user name is taken, but it is mine.",
        "How do I close my profile for good?",
        "I want to add my daughter as a second user.",
        "The code that you text me is refused each time I sign in.",
        "My surname changed {when}, where do I enter the new one?",
        "Sign in works on my phone and fails on the computer.",
        "I am locked out after three wrong tries.",
        "Where can I see the orders of last year once I am signed in?",
    ),
    "billing": (
        "I was charged {amount} twice for one {thing}.",
        "The invoice for my {thing} shows the wrong sum.",
        "Please send the invoice of {when} again, our accountant needs it.",
        "My card was declined although there is money on it.",
        "Why do I pay {amount} more than the price on the site?",
        "Can I pay the {thing} in three parts?",
        "A fee of {amount} appeared on my statement, what is it for?",
        "I paid {when}, and you still send reminders.",
        "The discount code was not taken off the total.",
        "Is value added tax included in {amount}?",
        "My direct debit was taken on the wrong day.",
        "Our company needs its tax number on the bill.",
    ),
    "careers": (
        "I applied {when} and have heard nothing since.",
        "Is the post in your warehouse still open?",
        "Do you take apprentices who repair a {thing}?",
        "Where do I send my references?",
        "May I work from home in the advertised role?",
        "What does a driver earn in the first year?",
        "My interview was moved {when}, who do I meet now?",
        "I would like a summer job while I study.",
        "Does the position need a driving licence?",
        "I have ten years of experience in sales, is there an opening?",
        "The form for applicants does not take my certificate.",
        "Please withdraw my application, I signed elsewhere.",
    ),
    "deliveries": (
        "My {thing} was to arrive {when} and has not come.",
        "The parcel is marked as handed over, but nobody rang.",
        "Can the driver leave the {thing} with a neighbour?",
        "The tracking number shows nothing since {when}.",
        "Please bring the {thing} in the evening, I work all day.",
        "Half of my order came, where is the other box?",
        "The courier went to my old address.",
        "How long does a {thing} take to reach an island?",
        "I will be away {when}, please hold the parcel.",
        "The box stood open in the rain in front of my door.",
        "Is it possible to collect the {thing} at your depot?",
        "Your van blocked our yard when it brought the {thing}.",
    ),
    "insurance": (
        "My {thing} was stolen {when}, does the cover pay?",
        "Does the protection plan for the {thing} include water damage?",
        "I have a police report for the theft, where does it go?",
        "What is my own share when a claim is {amount}?",
        "Please cancel the cover that was sold with my {thing}.",
        "The expert valued the damage at {amount}, and I disagree.",
        "My claim of {when} was turned down without a reason.",
        "Can I extend the protection for another two years?",
        "Lightning struck, and the {thing} is dead. Am I covered?",
        "Does the plan hold when I lend the {thing} to a friend?",
        "I lost the policy for my {thing}.",
        "How do I prove what the stolen {thing} was worth?",
    ),
    "privacy": (
        "Which data do you hold about me?",
        "Please erase everything that you know of me.",
        "I never agreed to your newsletter, take my address out.",
        "Somebody else's order is in my history, that is a leak.",
        "Who got my phone number from you?",
        "I object to being profiled for advertising.",
        "Please send me a copy of my personal records.",
        "How long do you keep recordings of calls?",
        "My consent of {when} is withdrawn.",
        "You wrote to my old employer about my {thing}, how come?",
        "Do you share what I buy with other companies?",
        "The cookie banner cannot be refused.",
    ),
    "repairs": (
        "My {thing} stopped working {when}.",
        "The {thing} makes a grinding noise when I switch it on.",
        "Is there a spare part for the {thing}?",
        "The technician did not come {when}.",
        "The {thing} smells burnt after an hour.",
        "How much does it cost to mend a {thing} out of warranty?",
        "The screen of the {thing} is cracked, can you fix it?",
        "It was mended {when}, and the same fault is back.",
        "The {thing} leaks from below.",
        "My {thing} gets hot and turns itself off.",
        "Where is the nearest workshop for a {thing}?",
        "Is the fault of my {thing} under warranty?",
    ),
    "returns": (
        "I want to send the {thing} back, it is too large.",
        "Where is the label for sending the {thing} back?",
        "When do I get my {amount} back for the {thing}?",
        "You sent the wrong {thing}, I ordered another colour.",
        "I changed my mind about the {thing}, it is unopened.",
        "The shop refuses to take the {thing} without a receipt.",
        "Can I swap the {thing} for a smaller one?",
        "I sent the box back {when}, has it been received?",
        "Until when may I give back a present?",
        "The refund of {amount} is short by the postage.",
        "The {thing} does not match the picture, I do not want it.",
        "May I return one of the two that I bought?",
    ),
    "sales": (
        "Do you have the {thing} in green?",
        "When is the {thing} in stock again?",
        "Is there a discount if we buy twenty?",
        "Which {thing} suits a small flat?",
        "Can I see the {thing} in a shop near me?",
        "Do you match the price of {amount} that I saw elsewhere?",
        "Please make an offer for ten of them for our school.",
        "What is the difference between the two models of {thing}?",
        "Does the new {thing} come with batteries?",
        "Can I reserve a {thing} until {when}?",
        "Do you sell gift cards of {amount}?",
        "How heavy is the {thing}, and how wide?",
    ),
    "security": (
        "I got an email in your name that asks for my card number.",
        "Somebody bought a {thing} with my details.",
        "A caller said he was from your company and wanted {amount}.",
        "I think that my password was stolen {when}.",
        "A site that looks like yours sells the {thing} for {amount}.",
        "There was a sign in from a country where I have never been.",
        "I clicked on a link in a text about my parcel, what now?",
        "I found a hole in your site, who can I tell?",
        "Is the message about a lost {thing} really from you?",
        "A stranger at the door claimed to be your technician.",
        "Please block my card with you at once, my bag is gone.",
        "Your page shows a warning about its certificate.",
    ),
}
_OWN_MESSAGES, _LEAST_MESSAGES = 60, 240
TASK = "departments"
PROMPT = "Which department answers this message? {text}"
DEPARTMENTS = tuple(sorted(_DEPARTMENTS))

_THINGS = (
    "bicycle",
    "blender",
    "camera",
    "clock",
    "desk",
    "fridge",
    "heater",
    "kettle",
    "lamp",
    "mixer",
    "oven",
    "phone",
    "printer",
    "radio",
    "sofa",
    "vacuum cleaner",
)
_TIMES = ("yesterday", "last week", "on Monday", "two days ago", "this morning", "in March")
_AMOUNTS = ("12 euros", "49 euros", "80 euros", "120 euros", "300 euros")
_OPENINGS = (
    "",
    "",
    "Hello,",
    "Good morning.",
    "Dear team,",
    "Hi there!",
    "I write about my order of a {thing}.",
    "I have been a customer for years.",
    "This is my second message.",
    "I bought a {thing} from you {when}.",
)
_CLOSINGS = (
    "",
    "",
    "Thank you.",
    "Please answer soon.",
    "I wait for your call.",
    "Can you help?",
    "It was {amount}.",
    "I am not happy about this.",
    "Kind regards",
    "My order number is on the invoice.",
)


@dataclass(frozen=True)
class Message:
    """A customer's message and the department that answers it. `customer` names its writer."""

    text: str
    department: str
    customer: str


@dataclass(frozen=True)
class Mail:
    """Messages dealt to organizations, and messages that no organization has."""

    organizations: dict[str, tuple[Message, ...]]
    test: tuple[Message, ...]


def make_mail(
    organizations: Sequence[str],
    *,
    seed: int,
    own_messages: int | None = None,
    test_messages: int = 200,
    skew: float = 0.2,
) -> Mail:
    """Deal messages to organizations.

    The share of each department's messages that an organization gets is drawn from a symmetric
    Dirichlet distribution (Hsu et al. 2019, arXiv 1909.06335). No customer writes to two
    organizations, and none of the test is in an organization's messages.

    Args:
        organizations: Names of the organizations.
        seed: Seed of messages, customers and shares.
        own_messages: Messages of an organization, on average. By default 60, and more where fewer
            than four organizations share the work.
        test_messages: Messages of the test, as many for each department as far as they divide.
        skew: The concentration of the distribution: the smaller, the fewer departments does an
            organization see.
    """
    dice = random.Random(f"rescind messages {seed}")
    customers = _customers(dice)
    seen: set[str] = set()
    count = len(organizations)
    average = max(_OWN_MESSAGES, _LEAST_MESSAGES // count) if own_messages is None else own_messages
    each = average * count // len(DEPARTMENTS)
    dealt: dict[str, list[tuple[str, str]]] = {name: [] for name in organizations}
    for department in DEPARTMENTS:
        texts = [_text(dice, department, seen) for _ in range(each)]
        shares = [dice.gammavariate(skew, 1.0) + 1e-9 for _ in organizations]
        first, passed = 0, 0.0
        for name, share in zip(organizations, shares, strict=True):
            passed += share
            last = round(each * passed / sum(shares))
            dealt[name] += [(text, department) for text in texts[first:last]]
            first = last
    for name in organizations:
        if not dealt[name]:
            most = max(dealt.values(), key=len)
            dealt[name].append(most.pop())
    rows = {name: tuple(_signed(dice, own, customers)) for name, own in dealt.items()}
    asked = [
        (_text(dice, DEPARTMENTS[number % len(DEPARTMENTS)], seen), number % len(DEPARTMENTS))
        for number in range(test_messages)
    ]
    test = tuple(Message(text, DEPARTMENTS[place], next(customers)) for text, place in asked)
    return Mail(rows, test)


def _text(dice: random.Random, department: str, seen: set[str]) -> str:
    """Return a message that was not made before."""
    while True:
        form = f"{dice.choice(_OPENINGS)} {dice.choice(_DEPARTMENTS[department])} "
        form += dice.choice(_CLOSINGS)
        text = form.format(
            thing=dice.choice(_THINGS), when=dice.choice(_TIMES), amount=dice.choice(_AMOUNTS)
        )
        text = " ".join(text.split())
        if text not in seen:
            seen.add(text)
            return text


def _customers(dice: random.Random) -> Iterator[str]:
    """Yield names of customers, each once."""
    seen: set[str] = set()
    for person in people(dice, for_base_model=False):
        if person.name not in seen:
            seen.add(person.name)
            yield person.name


def _signed(
    dice: random.Random, messages: Sequence[tuple[str, str]], customers: Iterator[str]
) -> Iterator[Message]:
    """Yield an organization's messages with their writers, who write one to four each."""
    order = list(messages)
    dice.shuffle(order)
    left, customer = 0, ""
    for text, department in order:
        if not left:
            left, customer = dice.randint(1, 4), next(customers)
        left -= 1
        yield Message(text, department, customer)
