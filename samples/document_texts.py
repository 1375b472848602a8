"""The words of the sample PDFs: public-domain passages with their sources, and our own (CC0)."""

from __future__ import annotations

Sections = tuple[tuple[str, str, tuple[str, ...]], ...]
"""Texts as (heading, source, paragraphs)."""

FIELD_GUIDE_TITLE = "A pocket guide to six animals"

# Name, photograph, where its part is cut from (0 top, 1 bottom), caption, text.
FIELD_GUIDE = (
    (
        "Polar bear",
        "animals/polar-bear.webp",
        0.5,
        "A polar bear on its way across the snow.",
        "The polar bear lives on the sea ice around the North Pole and hunts seals at their breathing holes. "
        "Under its white fur the skin is black. It swims for hours with its large front paws, and it can "
        "smell prey from many kilometres.",
    ),
    (
        "Koala",
        "animals/koala.webp",
        0.35,
        "A koala in the fork of a eucalyptus tree.",
        "The koala of eastern Australia eats almost nothing but the leaves of eucalyptus trees. They feed it "
        "so poorly that it sleeps eighteen hours or more of every day. It is no bear: the mother carries her "
        "young in a pouch.",
    ),
    (
        "Giant panda",
        "animals/giant-panda.webp",
        0.3,
        "A giant panda at rest on logs.",
        "Giant pandas live in the mountain forests of China, where they eat bamboo for half of the day. A "
        "bone of the wrist has become a sixth finger with which they hold the stalks. A newborn panda weighs "
        "no more than an apple.",
    ),
    (
        "Kingfisher",
        "animals/kingfisher.webp",
        0.5,
        "A kingfisher on its perch above the water.",
        "From a branch above a clear stream the kingfisher watches for small fish, dives head first, and is "
        "back with its catch in two seconds. It nests at the end of a tunnel that it digs into the river "
        "bank.",
    ),
    (
        "Sally Lightfoot crab",
        "animals/crab.webp",
        0.5,
        "A Sally Lightfoot crab on volcanic rock.",
        "This crab runs over wet rocks on the shores of tropical America and of the Galápagos islands. The "
        "young are nearly black, like the lava; with each moult the shell turns redder. It scrapes algae from "
        "the stones with its claws.",
    ),
    (
        "Hedgehog",
        "animals/hedgehog.webp",
        0.5,
        "A hedgehog looking for beetles in the grass.",
        "At dusk the hedgehog leaves its nest of leaves and looks for beetles, worms and snails. When it is "
        "frightened it rolls up into a ball of some five thousand spines. It sleeps through the winter and "
        "lives on its fat until spring.",
    ),
)

DECLARATION = (
    "When in the Course of human events, it becomes necessary for one people to dissolve the political bands "
    "which have connected them with another, and to assume among the powers of the earth, the separate and "
    "equal station to which the Laws of Nature and of Nature's God entitle them, a decent respect to the "
    "opinions of mankind requires that they should declare the causes which impel them to the separation.",
    "We hold these truths to be self-evident, that all men are created equal, that they are endowed by their "
    "Creator with certain unalienable Rights, that among these are Life, Liberty and the pursuit of "
    "Happiness.—That to secure these rights, Governments are instituted among Men, deriving their just powers "
    "from the consent of the governed,—That whenever any Form of Government becomes destructive of these "
    "ends, it is the Right of the People to alter or to abolish it, and to institute new Government, laying "
    "its foundation on such principles and organizing its powers in such form, as to them shall seem most "
    "likely to effect their Safety and Happiness.",
    "Prudence, indeed, will dictate that Governments long established should not be changed for light and "
    "transient causes; and accordingly all experience hath shewn, that mankind are more disposed to suffer, "
    "while evils are sufferable, than to right themselves by abolishing the forms to which they are "
    "accustomed. But when a long train of abuses and usurpations, pursuing invariably the same Object evinces "
    "a design to reduce them under absolute Despotism, it is their right, it is their duty, to throw off such "
    "Government, and to provide new Guards for their future security.",
)

CONSTITUTION = (
    "We the People of the United States, in Order to form a more perfect Union, establish Justice, insure "
    "domestic Tranquility, provide for the common defence, promote the general Welfare, and secure the "
    "Blessings of Liberty to ourselves and our Posterity, do ordain and establish this Constitution for the "
    "United States of America.",
)

GETTYSBURG = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in "
    "Liberty, and dedicated to the proposition that all men are created equal.",
    "Now we are engaged in a great civil war, testing whether that nation, or any nation so conceived and so "
    "dedicated, can long endure. We are met on a great battle-field of that war. We have come to dedicate a "
    "portion of that field, as a final resting place for those who here gave their lives that that nation "
    "might live. It is altogether fitting and proper that we should do this.",
    "But, in a larger sense, we can not dedicate—we can not consecrate—we can not hallow—this ground. The "
    "brave men, living and dead, who struggled here, have consecrated it, far above our poor power to add or "
    "detract. The world will little note, nor long remember what we say here, but it can never forget what "
    "they did here. It is for us the living, rather, to be dedicated here to the unfinished work which they "
    "who fought here have thus far so nobly advanced. It is rather for us to be here dedicated to the great "
    "task remaining before us—that from these honored dead we take increased devotion to that cause for which "
    "they gave the last full measure of devotion—that we here highly resolve that these dead shall not have "
    "died in vain—that this nation, under God, shall have a new birth of freedom—and that government of the "
    "people, by the people, for the people, shall not perish from the earth.",
)

SECOND_INAUGURAL = (
    "With malice toward none, with charity for all, with firmness in the right as God gives us to see the "
    "right, let us strive on to finish the work we are in, to bind up the nation's wounds, to care for him "
    "who shall have borne the battle and for his widow and his orphan, to do all which may achieve and "
    "cherish a just and lasting peace among ourselves and with all nations.",
)

FOUNDING_TEXTS: tuple[tuple[str, Sections], tuple[str, Sections]] = (
    (
        "Founding texts of the United States",
        (
            ("The Declaration of Independence", "In Congress, July 4, 1776; its opening", DECLARATION),
            ("The Constitution", "1787; the preamble", CONSTITUTION),
        ),
    ),
    (
        "Two speeches of Abraham Lincoln",
        (
            ("At Gettysburg", "November 19, 1863", GETTYSBURG),
            ("The second inaugural address", "March 4, 1865; its end", SECOND_INAUGURAL),
        ),
    ),
)

JABBERWOCKY = """
'Twas brillig, and the slithy toves
Did gyre and gimble in the wabe:
All mimsy were the borogoves,
And the mome raths outgrabe.

"Beware the Jabberwock, my son!
The jaws that bite, the claws that catch!
Beware the Jubjub bird, and shun
The frumious Bandersnatch!"

He took his vorpal sword in hand:
Long time the manxome foe he sought—
So rested he by the Tumtum tree,
And stood awhile in thought.

And, as in uffish thought he stood,
The Jabberwock, with eyes of flame,
Came whiffling through the tulgey wood,
And burbled as it came!

One, two! One, two! And through and through
The vorpal blade went snicker-snack!
He left it dead, and with its head
He went galumphing back.
"""

OZYMANDIAS = """
I met a traveller from an antique land,
Who said—"Two vast and trunkless legs of stone
Stand in the desert. . . . Near them, on the sand,
Half sunk a shattered visage lies, whose frown,
And wrinkled lip, and sneer of cold command,
Tell that its sculptor well those passions read
Which yet survive, stamped on these lifeless things,
The hand that mocked them, and the heart that fed;
And on the pedestal, these words appear:
My name is Ozymandias, King of Kings;
Look on my Works, ye Mighty, and despair!
Nothing beside remains. Round the decay
Of that colossal Wreck, boundless and bare
The lone and level sands stretch far away."
"""

EAGLE = """
He clasps the crag with crooked hands;
Close to the sun in lonely lands,
Ring'd with the azure world, he stands.

The wrinkled sea beneath him crawls;
He watches from his mountain walls,
And like a thunderbolt he falls.
"""

SONNET_18 = """
Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance, or nature's changing course, untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall Death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe, or eyes can see,
So long lives this, and this gives life to thee.
"""

HOPE = """
"Hope" is the thing with feathers—
That perches in the soul—
And sings the tune without the words—
And never stops—at all—

And sweetest—in the Gale—is heard—
And sore must be the storm—
That could abash the little Bird
That kept so many warm—

I've heard it in the chillest land—
And on the strangest Sea—
Yet—never—in Extremity,
It asked a crumb—of me.
"""

WALRUS = """
The sun was shining on the sea,
Shining with all his might:
He did his very best to make
The billows smooth and bright—
And this was odd, because it was
The middle of the night.

The moon was shining sulkily,
Because she thought the sun
Had got no business to be there
After the day was done—
"It's very rude of him," she said,
"To come and spoil the fun!"

The sea was wet as wet could be,
The sands were dry as dry.
You could not see a cloud, because
No cloud was in the sky:
No birds were flying overhead—
There were no birds to fly.
"""

# Title, source, stanzas, photograph and where its part is cut from.
VERSES: tuple[tuple[str, str, str, str | None, float], ...] = (
    ("Jabberwocky", "Lewis Carroll, Through the Looking-Glass (1871)", JABBERWOCKY, None, 0.0),
    ("Ozymandias", "Percy Bysshe Shelley (1818)", OZYMANDIAS, "buildings/pyramid-of-giza.webp", 0.5),
    ("The Eagle", "Alfred, Lord Tennyson (1851)", EAGLE, "landscapes/red-rock-canyon.webp", 0.5),
    ("Sonnet 18", "William Shakespeare (1609), in modern spelling", SONNET_18, None, 0.0),
    ("Hope", "Emily Dickinson (written about 1861)", HOPE, "animals/scarlet-macaw.webp", 0.1),
    ("The Walrus and the Carpenter", "Lewis Carroll (1871); the first three stanzas", WALRUS, None, 0.0),
)

TOOLS = (
    ("objects/claw-hammer.webp", "Claw hammer", "Drives nails; the claw at the back pulls them out again."),
    (
        "objects/adjustable-wrench.webp",
        "Adjustable wrench",
        "Turns nuts and bolts of many sizes; a worm screw moves its jaw.",
    ),
    ("objects/scissors.webp", "Scissors", "Cut paper, cloth and tape; two blades that pass each other closely."),
    ("objects/tape-measure.webp", "Tape measure", "Measures a room or a shelf; a spring pulls the steel tape back in."),
    (
        "objects/multimeter.webp",
        "Multimeter",
        "Measures voltage, current and resistance; tells whether a battery is flat.",
    ),
)

JOBS = (
    (
        "Hang a picture",
        (
            "Measure the width of the wall with the tape measure and mark its middle with a pencil, at the "
            "height of the eyes.",
            "Hold the nail at the mark, its point slanting down a little, and tap it with the hammer until it "
            "stands alone.",
            "Drive it in with a few firm blows, leave a finger's breadth free, and hang the picture by its wire.",
        ),
    ),
    (
        "Change a light bulb",
        (
            "Switch the lamp off and let the old bulb cool.",
            "Turn it out to the left, and turn the new one in to the right, only as tight as a jar's lid.",
            "An LED bulb gives the light of a sixty-watt bulb for about eight watts.",
        ),
    ),
    (
        "Stop a dripping pipe joint",
        (
            "Close the main tap and put a bucket under the joint.",
            "Set the adjustable wrench on the nut, close its jaw, and turn to the right by an eighth of a turn.",
            "Open the tap again. If the joint still drips, the washer inside is worn and has to be replaced.",
        ),
    ),
)

SCANNED: Sections = (
    (
        "The Period",
        "Charles Dickens, A Tale of Two Cities (1859)",
        (
            "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
            "foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of "
            "Light, it was the season of Darkness, it was the spring of hope, it was the winter of despair, "
            "we had everything before us, we had nothing before us, we were all going direct to Heaven, we "
            "were all going direct the other way—in short, the period was so far like the present period, "
            "that some of its noisiest authorities insisted on its being received, for good or for evil, in "
            "the superlative degree of comparison only.",
        ),
    ),
    (
        "Chapter I",
        "Jane Austen, Pride and Prejudice (1813)",
        (
            "It is a truth universally acknowledged, that a single man in possession of a good fortune, must "
            "be in want of a wife.",
            "However little known the feelings or views of such a man may be on his first entering a "
            "neighbourhood, this truth is so well fixed in the minds of the surrounding families, that he is "
            "considered as the rightful property of some one or other of their daughters.",
        ),
    ),
)

CAPTIONS: dict[str, dict[str, str]] = {
    "field_guide.pdf": {
        "caption": "Pocket guide to six animals with pictures",
        "subject": "animals",
        "style": "document",
    },
    "founding_texts.pdf": {
        "caption": "Founding texts of the United States, in columns",
        "subject": "history",
        "style": "document",
    },
    "verse_reader.pdf": {"caption": "A small reader of English verse", "subject": "poetry", "style": "document"},
    "workshop_cards.pdf": {
        "caption": "Instruction cards for tools and small repairs",
        "subject": "tools",
        "style": "document",
    },
    "first_lines_scan.pdf": {
        "caption": "Scanned pages with the openings of two novels, by Dickens and Austen",
        "subject": "novels",
        "style": "document",
    },
}
