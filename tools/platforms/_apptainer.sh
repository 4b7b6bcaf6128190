# Apptainer for checks: `. "$(dirname "$0")/_apptainer.sh"` after _common.sh, then provide_apptainer, then provide_sif. The installed
# one; else Debian sid's with trixie's C library, unpacked below $scratch (8 s, 100 MB), for Debian 12 has neither. Debian's patchelf,
# squashfs-tools and squashfuse are needed (apt-get install --no-install-recommends ...).
# shellcheck shell=bash disable=SC2154
provide_apptainer() {
    needs mksquashfs squashfuse
    if ! command -v apptainer >/dev/null; then
        needs apt-get dpkg-deb patchelf
        [ "$(dpkg --print-architecture)" = amd64 ] || skip "Apptainer is not installed, and taken from Debian's packages for amd64 only"
        unpack_apptainer >"$scratch/log" 2>&1 || { tail -n 3 "$scratch/log"; skip "Apptainer is not installed, and Debian's packages of it cannot be had"; }
        PATH=$scratch/apptainer/usr/bin:$PATH
    fi
    apptainer --version >"$scratch/log" 2>&1 || { cat "$scratch/log"; skip "Apptainer does not start"; }
    # Users without rights run it so anyway; root of a machine that withholds capabilities cannot run it otherwise.
    export APPTAINER_USERNS=1
    say "$(cat "$scratch/log")"
}

# provide_sif IMAGE: $sif, a file that all users can read. IMAGE: a .sif file, or the name of an image of Docker or podman, of which
# a user without rights makes one (1 to 3 minutes). It must hold the code of this checkout.
sif=$scratch/semantoks.sif
provide_sif() {
    if [ "${1%.sif}" != "$1" ]; then
        [ -f "$1" ] || fail "no file $1"
        cp "$1" "$sif"
    else
        build_sif "$1"
    fi
    chmod 444 "$sif"
    say "size: $(stat -c %s "$sif" | awk '{printf "%.2f GB", $1 / 1e9}')"
    expect 0 "the code in the image" apptainer --quiet exec --cleanenv --containall "$sif" sh -c "$(declare -f code); code /opt/venv/lib/python3*/site-packages"
    [ "$(cat "$scratch/log")" = "$(code "$root")" ] || fail "the image holds other code than this checkout: run tools/platforms/container.sh"
}
code() { (cd "$1" && find bids_app model semantoks -name '*.py' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum); }

build_sif() {
    local engine=docker as_builder=()
    docker image inspect "$1" >/dev/null 2>&1 || engine=podman
    needs $engine
    $engine image inspect "$1" >/dev/null 2>&1 || skip "no image $1: run tools/platforms/container.sh"
    $engine save --output "$scratch/image.tar" "$1" >/dev/null 2>&1 || fail "$engine save"
    install -d "$scratch/build"
    if [ "$(id -u)" = 0 ]; then
        chown nobody "$scratch/build"
        as_builder=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    fi
    chmod 644 "$scratch/image.tar"
    expect 0 "apptainer build" "${as_builder[@]}" env -i "PATH=$PATH" "HOME=$scratch/build" "APPTAINER_TMPDIR=$scratch/build" \
        apptainer build --mksquashfs-args "-comp zstd -Xcompression-level 3" "$scratch/build/semantoks.sif" "docker-archive:$scratch/image.tar"
    mv "$scratch/build/semantoks.sif" "$sif"
    rm -rf "$scratch/image.tar" "$scratch/build"
}

# Package lists and files of two other releases, without a change to those of the system.
unpack_apptainer() {
    local apt=$scratch/apt tree=$scratch/apptainer libraries program package
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$tree"
    for release in sid trixie; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main"
    done > "$apt/sources"
    cat > "$apt/conf" <<-CONF
		Dir::State::lists "$apt/lists";
		Dir::State::status "/dev/null";
		Dir::Cache "$apt/cache";
		Dir::Etc::sourcelist "$apt/sources";
		Dir::Etc::sourceparts "-";
		Acquire::Languages "none";
		APT::Sandbox::User "root";
		CONF
    (cd "$apt" && export APT_CONFIG=$apt/conf && apt-get update &&
        apt-get download apptainer/sid libc6/trixie libseccomp2/trixie libsqlite3-0/trixie) || return
    for package in "$apt"/*.deb; do dpkg-deb --extract "$package" "$tree" || return; done
    libraries=$tree/usr/lib/x86_64-linux-gnu
    for program in "$tree/usr/bin/apptainer" "$libraries/apptainer/bin/starter"; do
        patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" "$program" || return
        patchelf --force-rpath --set-rpath "$libraries" "$program" || return
    done
    # It looks for these beside its programs.
    mv "$tree/etc" "$tree/var" "$tree/usr/" && ln -s ../etc ../var "$tree/usr/lib/"
    rm -r "$apt"
}
