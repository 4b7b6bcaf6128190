"""The numbers of a scan once more, written from the pages in docs/, slowly and plainly.

Nothing here imports the app, the model or scipy: numbers go in and out of loops over frames,
parcels and voxels, one formula of the pages after the other. Where a page did not say enough to
write a function here, the page was completed. A series is a list or (T,) array of one parcel.
"""

from __future__ import annotations

import cmath
import math

import numpy as np

ROOT = __file__.rsplit("/", 3)[0]
MEASURED = dict(np.load(f"{ROOT}/model/data/correlation.npz"))
"""Mean correlation of the parcels of cortical networks (docs/preprocessing.md)."""


def median(numbers):
    ordered = sorted(float(number) for number in numbers)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def mean(numbers):
    return math.fsum(numbers) / len(numbers)


def sd(numbers):
    """Population standard deviation."""
    centre = mean(numbers)
    return math.sqrt(math.fsum((number - centre) ** 2 for number in numbers) / len(numbers))


def robust_sd(numbers):
    centre = median(numbers)
    return 1.4826 * median([abs(number - centre) for number in numbers])


def largest(numbers):
    return max((abs(number) for number in numbers), default=0.0)


def is_missing(series):
    return any(math.isnan(value) for value in series)


def in_float32(series):
    return [float(np.float32(value)) for value in series]


# Extraction: docs/atlas.md, "Parcel means and coverage"


def parcel_means(stored, labels, mask, *, scaled, absent, min_coverage, n_parcels):
    """Every parcel's (series, labelled voxels, used voxels, reason), of an image (X, Y, Z, T).

    And of each frame the share of the used voxels that are zero; 1 where the frame is left out.
    """
    places = {parcel: [] for parcel in range(1, n_parcels + 1)}
    for place in np.ndindex(labels.shape):
        if labels[place]:
            places[int(labels[place])].append(place)
    looked_at = [p for labelled in places.values() for p in labelled if mask is None or mask[p]]
    measured = frames_measured(stored, looked_at)
    answers = []
    for parcel, labelled in places.items():
        inside = [place for place in labelled if mask is None or mask[place]]
        series, used, reason = parcel_mean(
            stored, labelled, inside, measured, scaled, min_coverage
        )
        if not inside:
            reason = "outside the mask"
        if not labelled:
            reason = "no voxel on this grid"
        if parcel in absent:
            reason = "not in atlas"
        answers.append((series, len(labelled), used, reason))
    return answers, blank_shares(stored, answers, measured, scaled)


def grayordinate_means(stored, atlas, *, min_coverage, n_parcels):
    """The same of a file that holds {place: (T,) series}, the atlas being {place: parcel}."""
    measured = frames_measured(stored, [place for place in stored if atlas[place]])
    answers = []
    for parcel in range(1, n_parcels + 1):
        labelled = [place for place, label in atlas.items() if label == parcel]
        listed = [place for place in labelled if place in stored]
        series, used, reason = parcel_mean(stored, labelled, listed, measured, float, min_coverage)
        if not listed:
            reason = "not among the file's grayordinates"
        if not labelled:
            reason = "not in atlas"
        answers.append((series, len(labelled), used, reason))
    return answers, blank_shares(stored, answers, measured, float)


def frames_measured(stored, places):
    """Which frames are not left out for holding too much that is not finite."""
    n_frames = len(stored[places[0]])
    n_bad = [sum(not math.isfinite(stored[p][frame]) for p in places) for frame in range(n_frames)]
    limit = median(n_bad) + 0.05 * len(places)
    return [n <= limit for n in n_bad]


def parcel_mean(stored, labelled, inside, measured, scaled, min_coverage):
    """Mean over what is finite throughout and varies, what that is, and what is wrong with it."""
    frames = [frame for frame, is_measured in enumerate(measured) if is_measured]
    finite = [p for p in inside if all(math.isfinite(stored[p][frame]) for frame in frames)]
    used = [p for p in finite if any(stored[p][frame] != stored[p][frames[0]] for frame in frames)]
    coverage = len(used) / len(labelled) if labelled else 0.0
    series = [math.nan] * len(measured)
    if not finite:
        return series, used, "not finite"
    if not used:
        return series, used, "no variance"
    if coverage < min_coverage:
        return series, used, "below min coverage"
    for frame in frames:
        series[frame] = mean([scaled(float(stored[place][frame])) for place in used])
    return series, used, ""


def blank_shares(stored, answers, measured, scaled):
    used = [place for _, _, places, _ in answers for place in places]
    return [
        sum(scaled(float(stored[place][frame])) == 0 for place in used) / len(used)
        if is_measured
        else 1.0
        for frame, is_measured in enumerate(measured)
    ]


def labels_on_grid(labels, affine, shape, to_affine):
    """The label whose voxel's centre is nearest to that of every voxel of another grid.

    Midway between two the one with the higher index counts; outside there is none.
    """
    result = np.zeros(shape, dtype=int)
    for place in np.ndindex(*shape):
        millimetres = to_affine @ [*place, 1]
        index = np.linalg.solve(affine, millimetres)[:3]
        nearest = tuple(math.floor(x + 0.5 + 1e-6) for x in index)
        if all(0 <= i < n for i, n in zip(nearest, labels.shape, strict=True)):
            result[place] = labels[nearest]
    return result


# Spikes: docs/denoising.md, step 1


def despiked(series):
    """The series with its spikes bridged, and how many values that were."""
    if is_missing(series) or len(series) < 5:
        return list(series), 0
    last = len(series) - 1
    distances = []
    for frame, value in enumerate(series):
        five = [series[min(max(frame + step, 0), last)] for step in (-2, -1, 0, 1, 2)]
        distances.append(value - median(five))
    limits = 2.5 * robust_sd(series), 6 * robust_sd(distances)
    spiked = [all(abs(distance) > limit for limit in limits) for distance in distances]
    if max(limits) == 0:
        spiked = [False] * len(series)
    return bridged(series, [not spike for spike in spiked]), sum(spiked)


def bridged(series, good):
    """Straight lines between the good frames; the first and last of them are held."""
    result = []
    for frame, value in enumerate(series):
        if good[frame]:
            result.append(value)
            continue
        before = [other for other in range(frame) if good[other]]
        after = [other for other in range(frame, len(series)) if good[other]]
        if not before:
            result.append(series[after[0]])
        elif not after:
            result.append(series[before[-1]])
        else:
            a, b = before[-1], after[0]
            result.append(series[a] + (series[b] - series[a]) * (frame - a) / (b - a))
    return result


# Outliers: docs/denoising.md, "Strategies" and the keys of a strategy


def outliers(fd_mm, std_dvars, unsteady, *, fd_limit, dvars_limit, shortest, n_dropped):
    """Which of the acquired volumes are interpolated; those dropped at the start are not.

    `n_dropped` None: as many as fMRIPrep found unsteady.
    """
    n_frames = len(fd_mm)
    moved = [
        (fd_limit is not None and fd_mm[frame] > fd_limit)
        or (dvars_limit is not None and std_dvars[frame] > dvars_limit)
        for frame in range(n_frames)
    ]
    found = list(moved)
    if any(moved):
        for frame in range(n_frames):
            stretch = 0 if moved[frame] else 1
            for step in (-1, 1):
                other = frame + step
                while stretch and 0 <= other < n_frames and not moved[other]:
                    stretch += 1
                    other += step
            if stretch < shortest:
                found[frame] = True
    leading = 0
    while leading < n_frames and unsteady[leading]:
        leading += 1
    if n_dropped is None:
        found = [outlier or strange for outlier, strange in zip(found, unsteady, strict=True)]
        n_dropped = leading
    return [outlier and frame >= n_dropped for frame, outlier in enumerate(found)], n_dropped


# Filter: docs/denoising.md, step 4


def detrended(series):
    """Without its least-squares straight line."""
    times = range(len(series))
    middle, level = mean(list(times)), mean(series)
    slope = math.fsum((t - middle) * (x - level) for t, x in zip(times, series, strict=True))
    slope /= math.fsum((t - middle) ** 2 for t in times)
    return [x - level - slope * (t - middle) for t, x in zip(times, series, strict=True)]


def butterworth(tr_s, high_pass_hz, low_pass_hz):
    """Zeros, poles and gain of the digital filter of order 5 at each edge that is given.

    The textbook's way: poles on the left half of the unit circle, moved to the band, then the
    bilinear transform s = (z - 1) / (z + 1) with edges at tan(pi * f * TR).
    """
    prototype = [cmath.exp(1j * math.pi * (2 * k + 6) / 10) for k in range(5)]
    low = None if high_pass_hz is None else math.tan(math.pi * high_pass_hz * tr_s)
    high = None if low_pass_hz is None else math.tan(math.pi * low_pass_hz * tr_s)
    if low is not None and high is not None:
        analog = []
        for pole in prototype:  # (s^2 + low * high) / (s * (high - low)) = pole
            half = pole * (high - low) / 2
            root = cmath.sqrt(half * half - low * high)
            analog += [half + root, half - root]
        zeros = [1.0] * 5 + [-1.0] * 5
        middle = math.sqrt(low * high)
        full = (1 + 1j * middle) / (1 - 1j * middle)  # passes untouched
    elif low is not None:
        analog = [low / pole for pole in prototype]
        zeros, full = [1.0] * 5, -1.0
    else:
        analog = [high * pole for pole in prototype]
        zeros, full = [-1.0] * 5, 1.0
    poles = [(1 + s) / (1 - s) for s in analog]
    gain = 1 / abs(_response(zeros, poles, full))
    return zeros, poles, gain


def _response(zeros, poles, z):
    product = 1.0 + 0j
    for zero, pole in zip(zeros, poles, strict=True):
        product *= (z - zero) / (z - pole)
    return product


def one_pass(series, zeros, poles, gain):
    """The filter forwards, begun as if the first value had stood for ever."""
    begin = series[0]
    steady = begin * gain * _response(zeros, poles, 1.0).real
    passed = [complex(value - begin) for value in series]
    for zero, pole in zip(zeros, poles, strict=True):
        earlier_in, earlier_out = 0j, 0j
        for frame, value in enumerate(passed):
            earlier_out = value - zero * earlier_in + pole * earlier_out
            earlier_in = value
            passed[frame] = earlier_out
    return [gain * value.real + steady for value in passed]


def filtered(series, *, tr_s, high_pass_hz, low_pass_hz):
    """Detrended and filtered; a low-pass that the TR makes void is left out."""
    if low_pass_hz is not None and low_pass_hz >= 0.5 / tr_s:
        low_pass_hz = None
    straight = detrended(series)
    if high_pass_hz is None and low_pass_hz is None:
        return straight
    zeros, poles, gain = butterworth(tr_s, high_pass_hz, low_pass_hz)
    n = 33 if len(poles) == 10 else 18
    last = len(straight) - 1
    extended = [reflected(straight, frame) for frame in range(-n, last + n + 1)]
    forwards = one_pass(extended, zeros, poles, gain)
    backwards = one_pass(forwards[::-1], zeros, poles, gain)[::-1]
    return backwards[n : n + len(series)]


def reflected(series, frame):
    """The value at any frame, the series being continued by odd reflection at both ends."""
    last = len(series) - 1
    if frame < 0:
        return 2 * series[0] - reflected(series, -frame)
    if frame > last:
        return 2 * series[last] - reflected(series, 2 * last - frame)
    return series[frame]


# Denoising: docs/denoising.md, steps 2 to 6


def denoised(columns, regressors, good, *, tr_s, high_pass_hz, low_pass_hz):
    """The residual of each parcel's series, the dropped volumes being gone; and the dof."""
    band = {"tr_s": tr_s, "high_pass_hz": high_pass_hz, "low_pass_hz": low_pass_hz}
    good_frames = [frame for frame, is_good in enumerate(good) if is_good]
    design = []
    for regressor in regressors:
        clean = filtered(bridged(regressor, good), **band)
        clean = [clean[frame] for frame in good_frames]
        spread = sd(clean)
        if spread > 1e-12 * largest(regressor):
            centre = mean(clean)
            design.append([(value - centre) / spread for value in clean])
    basis = independent(design)
    nyquist_hz = 0.5 / tr_s
    top_hz = nyquist_hz if low_pass_hz is None else min(low_pass_hz, nyquist_hz)
    dof = math.floor(len(good_frames) * (top_hz - (high_pass_hz or 0)) / nyquist_hz)
    dof -= len(basis) + (0 if high_pass_hz else 2)
    residuals = [
        [math.nan] * len(good)
        if is_missing(series)
        else _residual(bridged(series, good), basis, good, good_frames, band)
        for series in columns
    ]
    return residuals, dof


def _residual(series, basis, good, good_frames, band):
    result = filtered(series, **band)
    left = [result[frame] for frame in good_frames]
    for direction in basis:
        share = dot(direction, left)
        left = [value - share * part for value, part in zip(left, direction, strict=True)]
    for frame, value in zip(good_frames, left, strict=True):
        result[frame] = value
    result = bridged(result, good)
    if sd(result) <= 1e-6 * largest(series):
        return [math.nan] * len(result)
    return result


def dot(one, other):
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def independent(vectors):
    """Gram-Schmidt, the longest remainder next, until less than 1e-9 of the first is left."""
    rest, basis, first = [list(vector) for vector in vectors], [], None
    while rest:
        lengths = [math.sqrt(dot(vector, vector)) for vector in rest]
        length = max(lengths)
        first = length if first is None else first
        if length <= 1e-9 * first:
            break
        chosen = rest.pop(lengths.index(length))
        for direction in basis:  # once more, against rounding
            share = dot(direction, chosen)
            chosen = [value - share * part for value, part in zip(chosen, direction, strict=True)]
        length = math.sqrt(dot(chosen, chosen))
        chosen = [value / length for value in chosen]
        basis.append(chosen)
        for vector in rest:
            share = dot(chosen, vector)
            for place, part in enumerate(chosen):
                vector[place] -= share * part
    return basis


# Resampling: docs/preprocessing.md, section 1


def bessel_i0(x):
    term, total, k = 1.0, 1.0, 1
    while term > 1e-17 * total:
        term *= (x / 2 / k) ** 2
        total += term
        k += 1
    return total


def kernel(u):
    if abs(u) >= 16:
        return 0.0
    sinc = 1.0 if u == 0 else math.sin(math.pi * u) / (math.pi * u)
    return sinc * bessel_i0(7 * math.sqrt(1 - (u / 16) ** 2))


def sample_times(n_frames, tr_s, to_tr_s):
    """Times of the samples, up to the last frame."""
    times, end = [], (n_frames - 1) * tr_s
    while len(times) * to_tr_s <= end + 1e-6 * to_tr_s:
        times.append(len(times) * to_tr_s)
    return times


def resampled(columns, kept, *, tr_s, to_tr_s):
    """Each parcel's samples, and which of the samples count as kept."""
    n_frames, slower = len(kept), max(tr_s, to_tr_s)
    times = sample_times(n_frames, tr_s, to_tr_s)
    if tr_s == to_tr_s:
        return [list(series) for series in columns], list(kept)
    reach = math.ceil(16 * slower / tr_s)
    weights = []
    for time in times:
        middle = round(time / tr_s)
        row = {
            frame: kernel((time - frame * tr_s) / slower)
            for frame in range(middle - reach - 1, middle + reach + 2)
        }
        total = math.fsum(row.values())
        weights.append({frame: weight / total for frame, weight in row.items() if weight})
    samples = [
        [math.nan] * len(times)
        if is_missing(series)
        else [
            math.fsum(weight * reflected(series, frame) for frame, weight in row.items())
            for row in weights
        ]
        for series in columns
    ]
    near = max(tr_s, to_tr_s / 2)
    counts = [
        all(
            kept[frame]
            for frame in range(n_frames)
            if abs(time - frame * tr_s) < near - 1e-6 * tr_s
        )
        for time in times
    ]
    return samples, counts


# Normalization: docs/preprocessing.md, section 2


def normalized(series, kept, method):
    if is_missing(series):
        return list(series)
    used = [value for value, keep in zip(series, kept, strict=True) if keep]
    if len(used) < 20:
        used = list(series)
    if sd(used) <= 1e-6 * largest(used):
        return [math.nan] * len(series)
    if method == "zscore":
        centre, spread = mean(used), sd(used)
        return [(value - centre) / (spread + 1e-8) for value in series]
    middle, s = median(used), robust_sd(used)
    within = [value for value in used if abs(value - middle) <= 4 * s]
    if s <= 1e-6 * sd(used):
        within = used
    centre, spread = mean(within), sd(within)
    return [soft((value - centre) / spread) for value in series]


def soft(z):
    if abs(z) <= 3:
        return z
    return math.copysign(3 + 2 * math.tanh((abs(z) - 3) / 2), z)


# Windows: docs/preprocessing.md, section 3


def window_starts(n_samples):
    """First sample of each window, and the samples of data in it."""
    length = min(100, n_samples // 20 * 20)
    n = 1 + math.ceil((n_samples - length) / 50)
    if n == 1:
        return [0], length
    return [round(k * (n_samples - length) / (n - 1)) for k in range(n)], length


def windows(columns, table):
    """Every window as a (P, 100) list of lists, and the samples of data in them.

    `table` has a row (name, network, hemisphere) for each parcel.
    """
    whole = guessed(columns, table)
    starts, length = window_starts(len(columns[0]))
    pieces = [
        [series[start : start + length] + [0.0] * (100 - length) for series in whole]
        for start in starts
    ]
    return pieces, starts, length


def assumed_of(network, members, place):
    """What parcels of a network have in common: as measured, less a tenth, else by place."""
    if network not in MEASURED:
        return lambda a, b: assumed(place, a, b)
    matrix = MEASURED[network].astype(float)
    at = {number: i for i, number in enumerate(members)}
    return lambda a, b: 1.0 if a == b else 0.9 * matrix[at[a], at[b]]


def guessed(columns, table):
    """The series with the best linear guess, or zeros, where a parcel is missing."""
    n_samples = len(columns[0])
    missing = [is_missing(series) for series in columns]
    result = [
        [0.0] * n_samples if lost else list(series)
        for series, lost in zip(columns, missing, strict=True)
    ]
    place = places(table)
    for network in {row[1] for row in table}:
        members = [number for number, row in enumerate(table) if row[1] == network]
        lost = [number for number in members if missing[number]]
        there = [number for number in members if not missing[number]]
        if not lost or len(lost) > len(members) / 2:
            continue
        expected = assumed_of(network, members, place)
        among = [[expected(a, b) for b in there] for a in there]
        for number in lost:
            toward = [expected(number, b) for b in there]
            weights = np.linalg.solve(np.array(among), np.array(toward))
            for sample in range(n_samples):
                result[number][sample] = math.fsum(
                    weight * columns[b][sample] for weight, b in zip(weights, there, strict=True)
                )
    return result


def assumed(place, a, b):
    return 1.0 if a == b else 0.10 + 0.20 * math.exp(-abs(place[a] - place[b]) / 8)


def places(table):
    rank = []
    for number, (_, network, side) in enumerate(table):
        rank.append(sum(row[1] == network and row[2] == side for row in table[:number]))
    names = {row[0]: number for number, row in enumerate(table)}
    result = list(rank)
    for number, (name, _, side) in enumerate(table):
        twin = name.replace("_RH_", "_LH_").replace("-rh", "-lh")
        if side == "R" and twin in names:
            result[number] = rank[names[twin]]
    return result


# The whole way of a series, as docs/preprocessing.md orders it


def model_input(columns, kept, *, tr_s, method):
    """From denoised series at any TR to normalized samples at 2.0 s, and which are kept."""
    series = [in_float32(column) for column in columns]
    if method == "robust":
        series = [in_float32(despiked(column)[0]) for column in series]
    series, kept = resampled(series, kept, tr_s=tr_s, to_tr_s=2.0)
    series = [in_float32(normalized(in_float32(column), kept, method)) for column in series]
    return series, kept
