# frozen_string_literal: true

require "fileutils"
require "ipaddr"
require "rbconfig"
require "securerandom"

require_relative "bridge"
require_relative "settings"

module Kit
  # What the Vagrantfile asks: the settings, and what follows from them and from this host.
  class Machine
    # Debian 12's Vagrant (2.3) takes any architecture's box; 2.4 knows architectures.
    KNOWS_ARCHITECTURES = "2.4"
    PYTHON = "import sys; sys.exit(sys.version_info < (3, 11))" # what the kit's Ansible needs
    PROVIDERS = %w[virtualbox libvirt].freeze
    NODES = [1, 3, 5].freeze # an even number survives no more than one fewer
    # QEMU's board for arm64 has no BIOS and none of a PC's devices. The firmware is where Debian and
    # Ubuntu have it (qemu-efi-aarch64), or Fedora (edk2-aarch64).
    ARM64_BOARD = { machine_type: "virt", cpu_mode: "host-passthrough", video_type: "virtio",
                    inputs: [{ type: "keyboard", bus: "virtio" }] }.freeze
    ARM64_FIRMWARE = %w[/usr/share/qemu-efi-aarch64/QEMU_EFI.fd /usr/share/edk2/aarch64/QEMU_EFI.fd].freeze

    attr_reader :settings

    def initialize(root, environment: ENV, bridges: Bridges.new)
      @root = root
      @environment = environment
      @bridges = bridges
      @settings = Settings.new(root, environment)
    end

    # Returns the provider that Vagrant is going to take: it would not say before it has
    # read the Vagrantfile to its end.
    def provider(arguments)
      named = arguments.join(" ")[/--provider[ =](\S+)/, 1] || existing || @environment["VAGRANT_DEFAULT_PROVIDER"]
      return @bridges.virtualbox? ? "virtualbox" : "libvirt" if named.to_s.empty?
      return named if PROVIDERS.include?(named)

      raise Mistake, "The provider #{named} is not known; valid are: #{PROVIDERS.join(', ')}."
    end

    # Returns what Vagrant calls the machines, by the number of their node: as many as NODES says,
    # and never fewer than there are, so that each command knows all.
    def nodes
      given = @environment["NODES"].to_s
      unless given.empty? || NODES.map(&:to_s).include?(given)
        raise Mistake, "NODES=#{given} is not allowed; #{NODES.join(', ')} are: a primary is chosen by more than " \
                       "half of the nodes."
      end

      made = Dir.glob(File.join(@root, ".vagrant/machines/server-*/*/id")).map { |file| file[/server-(\d+)/, 1].to_i }
      number = NODES.find { |count| count >= [given.to_i, *made].max }
      (1..number).to_h { |node| [node, node == 1 ? "default" : "server-#{node}"] }
    end

    # Returns a node's host name; those after the first one have their number behind it.
    def hostname(node)
      node == 1 ? settings["hostname"] : "#{settings['hostname']}-#{node}"
    end

    # Returns what config.vm.network takes to put a card on the bridge.
    def network(provider, bridge)
      provider == "virtualbox" ? { bridge: bridge.name } : { dev: bridge.name, type: "bridge", mode: "bridge" }
    end

    # Returns what config.vm.synced_folder takes. libvirt's own way, NFS, would ask for a password.
    def synced_folder(provider)
      provider == "virtualbox" ? {} : { type: "rsync", rsync__exclude: %w[.git/ .kit/ .venv/ node_modules/] }
    end

    # Brings what Ansible in the machine wrote below .kit to this host: instance.json,
    # ssh_config, secrets, the CA. Not its downloads.
    def fetch(communicator, folder = "/vagrant")
      archive = +"" # as text: the communicator takes what it reads for UTF-8
      tar = "tar -C #{folder} --exclude=.kit/cache --exclude=.kit/logs -cz .kit"
      communicator.sudo("set -o pipefail; #{tar} | base64") do |stream, data|
        archive << data if stream == :stdout
      end
      IO.popen(["tar", "-C", @root, "-xz", "--no-same-owner"], "wb") { |unpack| unpack << archive.unpack1("m") }
      return if $?.success?

      raise Mistake, "What the machine wrote to #{folder}/.kit could not be unpacked here; `vagrant up` tries again."
    end

    # Returns the Bridge for a provider after checking that the settings fit to it.
    def bridge(provider)
      bridge = @bridges.public_send(provider, settings["bridge"])
      nodes.each_key { |node| check_address(bridge, node) }
      warn "Warning: #{format(Bridges::WIFI, bridge.name)}" if bridge.wireless
      bridge
    end

    # Returns what the provider libvirt takes for this host's architecture, by attribute.
    def libvirt_board(cpu = RbConfig::CONFIG["host_cpu"], files = ARM64_FIRMWARE)
      return {} unless architecture(cpu) == "arm64"

      firmware = files.find { |file| File.exist?(file) }
      return ARM64_BOARD.merge(loader: firmware) if firmware

      raise Mistake, "QEMU's firmware for arm64 is missing: `sudo apt-get install qemu-efi-aarch64`, " \
                     "or on Fedora `sudo dnf install edk2-aarch64`."
    end

    # Returns what config.vm takes for the box, by attribute.
    def box(provider, vagrant_version, cpu = RbConfig::CONFIG["host_cpu"])
      return own_box unless settings["box"].empty?

      architecture = architecture(cpu)
      entry = settings["boxes"].dig(provider, architecture)
      raise Mistake, "boxes has none for #{provider} on #{architecture}; see vagrant/settings.yml." unless entry

      name, version = entry.values_at("name", "version")
      if Gem::Version.new(vagrant_version) >= Gem::Version.new(KNOWS_ARCHITECTURES)
        return { box: name, box_version: version, box_architecture: architecture }
      end

      owner, short = name.split("/")
      # A box that comes from a URL has no version of its own: its name has to carry it.
      { box: "#{name}-#{version}-#{architecture}",
        box_url: "https://vagrantcloud.com/#{owner}/boxes/#{short}/versions/#{version}/" \
                 "providers/#{provider}/#{architecture}/vagrant.box" }
    end

    # Returns the address of a node's bridged network card as twelve digits, those after the
    # first one in a row. A random one is written down, so that a DHCP server knows the machine
    # again; one that followed from the checkout's path would meet itself on a colleague's machine.
    def mac(node = 1)
      format("%012X", (settings["mac"].empty? ? kept_mac : settings["mac"].delete(":-")).hex + node - 1)
    end

    # Returns what vagrant/guest/join_lan.py is called with.
    def lan_arguments(bridge, node = 1)
      fixed = settings["address"] == "dhcp" ? "dhcp" : "#{address(node)}/#{bridge.subnet.prefix}"
      ["--mac", mac(node), "--bridge", bridge.name, "--address", fixed, "--seconds", settings["dhcp_seconds"].to_s]
    end

    # Tells whether Ansible runs on this host; else it runs in the VM. KIT_ANSIBLE decides,
    # `make up` sets it to `later` because it provisions itself.
    def ansible
      where = ansible_place
      return where unless where == "guest"

      own = @environment["TLS_CERTIFICATE"].to_s
      not_here("TLS_CERTIFICATE=#{own}", "does not have this host's files") unless own.empty?
      not_here("NODES=#{nodes.length}", "knows no other node") if nodes.length > 1
      where
    end

    private

    def not_here(choice, why)
      raise Mistake, "#{choice} cannot be used here: Ansible runs in the VM, which #{why}; leave it out, " \
                     "or provision from a host that has make and Python 3.11."
    end

    def kept_mac
      file = File.join(@root, ".kit", "mac")
      unless File.exist?(file)
        FileUtils.mkdir_p(File.dirname(file), mode: 0o700)
        # 02: an address of local making, which belongs to no manufacturer.
        File.write(file, "02574B#{SecureRandom.hex(3).upcase}\n")
      end
      File.read(file).strip
    end

    # Returns the fixed address of a node; they are in a row.
    def address(node)
      IPAddr.new(IPAddr.new(settings["address"]).to_i + node - 1, Socket::AF_INET)
    end

    def architecture(cpu)
      cpu.match?(/arm64|aarch64/) ? "arm64" : "amd64"
    end

    def ansible_place
      choice = @environment["KIT_ANSIBLE"].to_s
      return choice if %w[host guest later].include?(choice)
      raise Mistake, "KIT_ANSIBLE=#{choice} is not known; valid are: host, guest, later." unless choice.empty?

      @bridges.windows? || !run?("make", "--version") || !run?("python3", "-c", PYTHON) ? "guest" : "host"
    end

    def existing
      PROVIDERS.find { |name| File.exist?(File.join(@root, ".vagrant/machines/default", name, "id")) }
    end

    def own_box
      version = settings["box_version"]
      { box: settings["box"] }.merge(version.empty? ? {} : { box_version: version })
    end

    def run?(*command)
      system(*command, in: File::NULL, out: File::NULL, err: File::NULL)
    end

    def check_address(bridge, node)
      return if settings["address"] == "dhcp"

      address = address(node)
      unless bridge.subnet
        raise Mistake, "address: #{address} cannot be used: this host has no address on #{bridge.name}, " \
                       "so its subnet is not known; use `address: dhcp`."
      end
      ends = bridge.subnet.to_range.then { |range| [range.first, range.last] }
      return if bridge.subnet.include?(address) && !ends.include?(address) && address.to_s != bridge.address

      raise Mistake, "address: #{address} is not a free address of #{bridge.name}: it takes one between " \
                     "#{ends.first} and #{ends.last} (/#{bridge.subnet.prefix}), and not this host's #{bridge.address}."
    end
  end
end
