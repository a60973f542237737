# frozen_string_literal: true

require "ipaddr"
require "json"
require "open3"
require "rbconfig"

require_relative "mistake"
require_relative "settings"

module Kit
  # An interface of the host: its name, the subnet that the host has an address in, that
  # address, whether it is wireless. Subnet and address are nil where the host has none.
  Bridge = Struct.new(:name, :subnet, :address, :wireless, keyword_init: true)

  # Chooses the interface that the VM's network card is bridged to, and never asks.
  class Bridges
    WINDOWS_ROUTES = <<~POWERSHELL
      Get-NetRoute -AddressFamily IPv4 -DestinationPrefix 0.0.0.0/0 | ForEach-Object {
        $adapter = Get-NetAdapter -InterfaceIndex $_.ifIndex -ErrorAction SilentlyContinue
        [pscustomobject]@{ name = $adapter.InterfaceDescription; metric = $_.RouteMetric + $_.InterfaceMetric }
      } | ConvertTo-Json
    POWERSHELL
    WIFI = "%s is Wi-Fi: many access points pass on nothing from a second network card, and then the VM " \
           "gets no address. A cable is the way out, or `make up PROVIDER=container` on Linux. " \
           "See docs/troubleshooting.md#wi-fi-bridging."

    SEE = "See docs/troubleshooting.md#the-bridge-question."

    # os: as RbConfig names it. run: takes a command, returns its output or nil.
    def initialize(os: RbConfig::CONFIG["host_os"], run: method(:output_of))
      @os = os
      @run = run
    end

    def windows?
      @os.match?(/mswin|mingw|cygwin/)
    end

    def virtualbox?
      !@run.call(vboxmanage, "--version").nil?
    end

    # Returns the Bridge for VirtualBox, by VirtualBox's own name for it.
    def virtualbox(named)
      output = @run.call(vboxmanage, "list", "bridgedifs")
      raise Mistake, "VirtualBox is not installed, or VBoxManage is not on the PATH." unless output

      known = self.class.parse_bridgedifs(output)
      return named_one(named, known) unless named.empty?

      routes = default_routes.filter_map do |device, metric|
        bridge = known.find { |one| one.name == device || one.name.start_with?("#{device}: ") }
        [bridge, metric] if bridge
      end
      best(routes, known, "`VBoxManage list bridgedifs` has none with a default route and a link")
    end

    # Returns the Bridge for libvirt: a Linux bridge, because over macvtap, the other way,
    # the host itself could not reach the VM.
    def libvirt(named)
      known = self.class.parse_bridges(@run.call("ip", "-j", "-d", "address") || "[]")
      return named_one(named, known) unless named.empty?

      routes = default_routes.filter_map do |device, metric|
        bridge = known.find { |one| one.name == device }
        [bridge, metric] if bridge
      end
      best(routes, known, "the default route does not go over a Linux bridge, which libvirt needs " \
                          "(docs: `nmcli connection add type bridge ifname br0`, or netplan's `bridges:`)")
    end

    # Returns the interfaces with a link in the output of `VBoxManage list bridgedifs`.
    def self.parse_bridgedifs(text)
      text.split(/\r?\n\r?\n/).filter_map do |block|
        fields = block.lines.to_h { |line| line.chomp.split(/:\s+/, 2).then { |key, value| [key, value.to_s.strip] } }
        next unless fields["Name"] && fields["Status"] == "Up"

        interface(fields["Name"], fields["IPAddress"], fields["NetworkMask"], fields["Wireless"] == "Yes")
      end
    end

    # Returns the bridges in the output of `ip -j -d address`.
    def self.parse_bridges(json)
      JSON.parse(json).select { |link| link.dig("linkinfo", "info_kind") == "bridge" }.map do |link|
        inet = link.fetch("addr_info", []).find { |one| one["family"] == "inet" } || {}
        interface(link["ifname"], inet["local"], inet["prefixlen"], false)
      end
    end

    # Returns device and metric of each default route in the output of `ip -j route show default`.
    def self.parse_linux_routes(json)
      JSON.parse(json).flat_map do |route|
        devices = route["nexthops"]&.map { |hop| hop["dev"] } || [route["dev"]]
        devices.map { |device| [device, route["metric"] || 0] }
      end
    end

    # Returns device and metric of the default route in the output of macOS's `route -n get default`.
    def self.parse_macos_route(text)
      text.scan(/^\s*interface: (\S+)/).map { |device,| [device, 0] }
    end

    # Returns adapter and metric of each default route in the output of WINDOWS_ROUTES.
    def self.parse_windows_routes(json)
      return [] if json.strip.empty?

      [JSON.parse(json)].flatten.filter_map { |route| [route["name"], route["metric"]] if route["name"] }
    end

    def self.interface(name, address, mask, wireless)
      address = nil if address.to_s.empty? || address == "0.0.0.0"
      subnet = IPAddr.new("#{address}/#{mask}") if address
      Bridge.new(name: name, subnet: subnet, address: address, wireless: wireless)
    end
    private_class_method :interface

    private

    def output_of(*command)
      output, status = Open3.capture2(*command, stdin_data: "", err: File::NULL)
      output if status.success?
    rescue SystemCallError
      nil
    end

    # Windows does not put VirtualBox on the PATH.
    def vboxmanage
      folder = ENV["VBOX_MSI_INSTALL_PATH"] || ENV["VBOX_INSTALL_PATH"]
      windows? && folder ? File.join(folder, "VBoxManage.exe") : "VBoxManage"
    end

    def default_routes
      if windows?
        self.class.parse_windows_routes(@run.call("powershell", "-NoProfile", "-Command", WINDOWS_ROUTES) || "")
      elsif @os.include?("darwin")
        self.class.parse_macos_route(@run.call("route", "-n", "get", "default") || "")
      else
        self.class.parse_linux_routes(@run.call("ip", "-j", "-4", "route", "show", "default") || "[]")
      end
    end

    def named_one(named, known)
      known.find { |one| one.name.casecmp?(named) || one.name.start_with?("#{named}: ") } ||
        raise(Mistake, "bridge: #{named} is not an interface with a link that can be bridged to; #{list(known)}.")
    end

    # The route with the lowest metric is the one that the host itself takes.
    def best(routes, known, none)
      lowest = routes.map(&:last).min
      bridges = routes.select { |_, metric| metric == lowest }.map(&:first).uniq
      return bridges.first if bridges.length == 1

      raise Mistake, "No interface to bridge to: #{none}; #{list(known)}. Name one in #{Settings::LOCAL}. #{SEE}" if bridges.empty?

      raise Mistake, "Several interfaces have an equally good default route: #{bridges.map(&:name).join(', ')}. " \
                     "Name one with a line in #{Settings::LOCAL}: `bridge: \"#{bridges.first.name}\"`. #{SEE}"
    end

    def list(known)
      known.empty? ? "there is none" : "valid are: #{known.map(&:name).join(', ')}"
    end
  end
end
