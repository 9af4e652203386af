"""Validity, canonical SMILES and properties of the library against RDKit, and the table of cases that the tests read.

    pip install rdkit
    cargo build --release -p pushforward --example canonicalise
    python experiments/molecules_against_rdkit.py compare EXAMPLE FILE.smi[.gz] ...
    python experiments/molecules_against_rdkit.py properties EXAMPLE FILE.smi[.gz] ...
    python experiments/molecules_against_rdkit.py kept DATA/prepared/FILE.smi ...
    python experiments/molecules_against_rdkit.py table > crates/pushforward/tests/chemistry/cases.tsv

EXAMPLE is the built example, target/release/examples/canonicalise. `compare` takes 10,000 molecules in all, spread over
the files: a third as the files have them, half of those with one character changed; a third rewritten (random order of
atoms, kekulised or not); a third as graphs of which most have been broken by changes of bonds, elements and charges.
`properties` compares weight, logP, TPSA, QED, rings, scaffold and fingerprint of as many. `kept` checks every molecule that the program has accepted and keeps beside its data. `table` makes up all of its
molecules.
"""

import gzip
import random
import subprocess
import sys

from rdkit import Chem, RDLogger, rdBase
from rdkit.Chem import QED, Crippen, Descriptors, rdFingerprintGenerator, rdMolDescriptors
from rdkit.Chem.Scaffolds import MurckoScaffold

RDLogger.DisableLog("rdApp.*")
MOLECULES = 10_000
CASES = 400


def lines(path):
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    with opened as file:
        return [line.split()[0] for line in file if line.strip() and line.strip().lower() != "smiles"]


def graph_text(atoms, bonds):
    spell = lambda a: a[0] + (f"{a[1]:+d}" if a[1] else "")
    return " ".join(map(spell, atoms)) + "|" + " ".join(f"{i}-{j}-{o}" for (i, j), o in sorted(bonds.items()))


def graph_of(molecule):
    molecule = Chem.RWMol(molecule)
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    atoms = [(a.GetSymbol(), a.GetFormalCharge()) for a in molecule.GetAtoms()]
    bonds = {tuple(sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx()))): int(b.GetBondTypeAsDouble()) for b in molecule.GetBonds()}
    return atoms, bonds


def changed(atoms, bonds, draw, edits):
    """A graph with some bonds, elements and charges changed: mostly no molecule any more."""
    atoms, bonds = list(atoms), dict(bonds)
    for _ in range(edits):
        kind = draw.random()
        i = draw.randrange(len(atoms))
        if kind < 0.5 and len(atoms) > 1:
            j = draw.choice([k for k in range(len(atoms)) if k != i])
            order = draw.choice([0, 1, 1, 2, 3])
            bonds.pop(tuple(sorted((i, j))), None)
            if order:
                bonds[tuple(sorted((i, j)))] = order
        elif kind < 0.85:
            atoms[i] = (draw.choice(["C", "N", "O", "F", "S", "P", "Cl", "Br"]), atoms[i][1])
        else:
            atoms[i] = (atoms[i][0], draw.choice([-1, 0, 0, 1]))
    return atoms, bonds


def damaged(text, draw):
    """A text with one character left out, put in or exchanged: often no SMILES any more, or one that does not sanitise."""
    at = draw.randrange(len(text))
    new = draw.choice(["", *"CNOFcno()=#123[]+-"])
    return text[:at] + new + text[at + draw.randrange(2):] or "C"


def verdict_of_graph(atoms, bonds):
    """As the graph generation literature does it: sanitise the whole, then take the largest fragment."""
    molecule = Chem.RWMol()
    for symbol, charge in atoms:
        atom = Chem.Atom(symbol)
        atom.SetFormalCharge(charge)
        molecule.AddAtom(atom)
    types = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
    for (i, j), order in bonds.items():
        molecule.AddBond(i, j, types[order])
    try:
        Chem.SanitizeMol(molecule)
    except Exception:
        return ("invalid", "")
    fragments = Chem.GetMolFrags(molecule, asMols=True)
    largest = max(fragments, key=lambda m: m.GetNumAtoms())
    # As a text and back: what the file of a user would hold.
    smiles = Chem.CanonSmiles(Chem.MolToSmiles(largest))
    return ("valid" if len(fragments) == 1 else "fragments", smiles)


def verdict_of_text(text):
    molecule = Chem.MolFromSmiles(text)
    if molecule is None:
        return "invalid", None
    whole = Chem.MolToSmiles(molecule)
    Chem.RemoveStereochemistry(molecule)
    return whole, Chem.CanonSmiles(Chem.MolToSmiles(molecule))


def compare(example, paths):
    draw = random.Random(0)
    texts = []
    for path in paths:
        texts += draw.sample(lines(path), MOLECULES // len(paths))
    asked, expected = [], []
    for index, text in enumerate(texts):
        molecule = Chem.MolFromSmiles(text)
        if molecule is None or index % 3 == 0:
            if index % 2 == 0:
                text = damaged(text, draw)
            asked.append(text)
            expected.append(verdict_of_text(text))
        elif index % 3 == 1:
            kekule = draw.random() < 0.5
            if kekule:
                Chem.Kekulize(molecule, clearAromaticFlags=True)
            text = Chem.MolToSmiles(molecule, doRandom=True, kekuleSmiles=kekule)
            asked.append(text)
            expected.append(verdict_of_text(text))
        else:
            atoms, bonds = changed(*graph_of(molecule), draw, draw.randrange(4))
            asked.append(graph_text(atoms, bonds))
            expected.append(verdict_of_graph(atoms, bonds))
    answers = subprocess.run([example], input="\n".join(asked) + "\n", capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(answers) == len(asked), (len(answers), len(asked))
    count = dict.fromkeys(["texts", "broken texts", "text verdicts differ", "texts differ", "graphs of texts refused", "graphs of texts differ", "graphs", "broken graphs", "graph verdicts differ", "graph texts differ"], 0)
    refused = {}
    for question, answer, truth in zip(asked, answers, expected):
        first, second = answer.split("\t")
        wrong = None
        if "|" in question:
            count["graphs"] += 1
            count["broken graphs"] += truth[0] == "invalid"
            if first != truth[0]:
                wrong = "graph verdicts differ"
            elif first != "invalid" and second != truth[1]:
                wrong = "graph texts differ"
        else:
            count["texts"] += 1
            count["broken texts"] += truth[0] == "invalid"
            if first.startswith("invalid") != (truth[0] == "invalid"):
                wrong = "text verdicts differ"
            elif truth[0] != "invalid" and first != truth[0]:
                wrong = "texts differ"
            elif second.startswith("refused"):
                count["graphs of texts refused"] += truth[0] != "invalid"
                refused[second] = refused.get(second, 0) + 1
            elif second != truth[1]:
                wrong = "graphs of texts differ"
        if wrong:
            count[wrong] += 1
            print(f"{wrong}: {question}\n  here  {answer}\n  RDKit {truth}")
    print(f"RDKit {rdBase.rdkitVersion}, {len(asked)} molecules of {', '.join(paths)}")
    for name, value in {**count, **refused}.items():
        print(f"{value:>7}  {name}")


def properties(example, paths):
    draw = random.Random(0)
    names = ["weight", "logP", "TPSA", "QED", "rings", "scaffold", "fingerprint"]
    texts = [text for path in paths for text in draw.sample(lines(path), MOLECULES // len(paths))]
    answers = subprocess.run([example, "properties"], input="\n".join(texts) + "\n", capture_output=True, text=True, check=True).stdout.splitlines()
    fingerprints = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    differ, largest = dict.fromkeys(names, 0), dict.fromkeys(names[:5], 0.0)
    for text, answer in zip(texts, answers, strict=True):
        molecule = Chem.MolFromSmiles(text)
        Chem.RemoveStereochemistry(molecule)
        molecule = Chem.MolFromSmiles(Chem.MolToSmiles(molecule))
        values = Descriptors.MolWt(molecule), Crippen.MolLogP(molecule), rdMolDescriptors.CalcTPSA(molecule), QED.qed(molecule), rdMolDescriptors.CalcNumRings(molecule)
        found = answer.split("\t")
        for name, value, here in zip(names, values, found):
            largest[name] = max(largest[name], abs(value - float(here)))
            differ[name] += abs(value - float(here)) > 1e-6
        differ["scaffold"] += Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(molecule)) != found[5]
        differ["fingerprint"] += " ".join(map(str, fingerprints.GetFingerprint(molecule).GetOnBits())) != found[6]
    print(f"RDKit {rdBase.rdkitVersion}, {len(texts)} molecules of {', '.join(paths)}: how many differ, and by how much at most")
    for name in names:
        print(f"{differ[name]:>7}  {name}  {largest.get(name, '')}")


def kept(paths):
    for path in paths:
        with open(path) as file:
            next(file)
            pairs = [line.rstrip("\n").split("\t") for line in file]
        differ = [pair for pair in pairs if verdict_of_text(pair[0])[0] != pair[1]]
        print(f"{path}: {len(differ)} of {len(pairs)} differ from RDKit {rdBase.rdkitVersion}", *differ[:10], sep="\n  ")


def made_up(draw):
    """A random tree of atoms with some rings and unsaturation, within valences."""
    valence = {"C": 4, "N": 3, "O": 2, "F": 1, "S": 2, "Cl": 1, "P": 3}
    atoms, bonds, left = [], {}, []
    for i in range(draw.randrange(1, 13)):
        symbol = draw.choice("C C C C C N N O O F S Cl P".split()) if i else draw.choice("C C C N O S".split())
        free = [k for k in range(i) if left[k] > 0]
        if i and not free:
            break
        atoms.append((symbol, 0))
        left.append(valence[symbol])
        if i:
            k = draw.choice(free)
            bonds[(k, i)] = 1
            left[k] -= 1
            left[i] -= 1
    for _ in range(draw.randrange(6)):
        pairs = [(i, j) for i in range(len(atoms)) for j in range(i + 1, len(atoms)) if left[i] and left[j] and bonds.get((i, j), 0) < 3]
        if pairs:
            i, j = draw.choice(pairs)
            bonds[(i, j)] = bonds.get((i, j), 0) + 1
            left[i] -= 1
            left[j] -= 1
    return atoms, bonds


def table():
    draw = random.Random(1)
    print(f"# Made by experiments/molecules_against_rdkit.py with RDKit {rdBase.rdkitVersion}: case, verdict, canonical SMILES.")
    aromatic = ["c1ccccc1", "c1cc[nH]c1", "c1ccncc1", "c1ccc2[nH]ccc2c1", "c1cscn1", "c1ccoc1", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "c1ccc2ccccc2c1", "O=c1cc[nH]c(=O)[nH]1", "c1nnn[nH]1"]
    for text in aromatic:
        atoms, bonds = graph_of(Chem.MolFromSmiles(text))
        for edits in (0, 1):
            for _ in range(1 + 3 * edits):
                order = list(range(len(atoms)))
                draw.shuffle(order)
                place = {old: new for new, old in enumerate(order)}
                moved = [atoms[old] for old in order], {tuple(sorted((place[i], place[j]))): o for (i, j), o in bonds.items()}
                row(*changed(*moved, draw, edits))
    for _ in range(CASES - 40):
        row(*changed(*made_up(draw), draw, draw.choice([0, 0, 1, 1, 2, 3])))


def row(atoms, bonds):
    print("\t".join([graph_text(atoms, bonds), *verdict_of_graph(atoms, bonds)]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["compare"] and len(sys.argv) > 3:
        compare(sys.argv[2], sys.argv[3:])
    elif sys.argv[1:2] == ["properties"] and len(sys.argv) > 3:
        properties(sys.argv[2], sys.argv[3:])
    elif sys.argv[1:2] == ["kept"] and len(sys.argv) > 2:
        kept(sys.argv[2:])
    elif sys.argv[1:] == ["table"]:
        table()
    else:
        sys.exit(__doc__)
