# Apptainer for checks: `. "$(dirname "$0")/_apptainer.sh"` after _common.sh, then provide_apptainer. The installed one; else Debian
# sid's with trixie's C library, unpacked below $scratch (8 s, 100 MB), for Debian 12 has neither. Debian's patchelf, squashfs-tools
# and squashfuse are needed (apt-get install --no-install-recommends ...).
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
    say "$(cat "$scratch/log")"
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
