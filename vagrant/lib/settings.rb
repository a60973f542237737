# frozen_string_literal: true

require "did_you_mean"
require "ipaddr"
require "yaml"

require_relative "mistake"

module Kit
  # What a person may choose: settings.yml, over it settings.local.yml, over both KIT_VM_*.
  class Settings
    LOCAL = "vagrant/settings.local.yml"
    PREFIX = "KIT_VM_"
    NUMBERS = %w[cpus memory_mib dhcp_seconds].freeze
    # What each key takes: a sentence for people, and the test behind it.
    RULES = {
      # 61 characters, as a second node has -2 behind it.
      "hostname" => ["letters, digits and hyphens", ->(v) { v.to_s.match?(/\A[a-z0-9]([a-z0-9-]{0,59}[a-z0-9])?\z/i) }],
      "cpus" => ["a number from 1 to 64", ->(v) { v.is_a?(Integer) && v.between?(1, 64) }],
      "memory_mib" => ["a number of MiB from 512 up, without a unit: 2048", ->(v) { v.is_a?(Integer) && v >= 512 }],
      "bridge" => ["the name of an interface, or nothing", ->(v) { v.is_a?(String) }],
      "address" => ["dhcp, or an IPv4 address such as 192.168.1.50", ->(v) { v == "dhcp" || ipv4?(v) }],
      "dhcp_seconds" => ["a number from 5 to 3600", ->(v) { v.is_a?(Integer) && v.between?(5, 3600) }],
      "mac" => ["six bytes such as 02:57:4b:00:00:01, the first one even, in quotes, or nothing", ->(v) { v == "" || mac?(v) }],
      "libvirt_driver" => ["kvm or qemu", ->(v) { %w[kvm qemu].include?(v) }],
      "box" => ["the name of a box, or nothing", ->(v) { v.is_a?(String) }],
      "box_version" => ["a version in quotes, or nothing", ->(v) { v.is_a?(String) }],
      "boxes" => ["a table of provider, architecture, name and version", ->(v) { boxes?(v) }]
    }.freeze

    def self.ipv4?(value)
      value.is_a?(String) && !value.include?("/") && IPAddr.new(value).ipv4?
    rescue IPAddr::Error
      false
    end

    # An odd first byte is a group's address, which no network card may have.
    def self.mac?(value)
      value.is_a?(String) && value.match?(/\A\h\h([:-]?)\h\h(\1\h\h){4}\z/) && value[0, 2].hex.even?
    end

    def self.boxes?(value)
      entries = ->(table, &test) { table.is_a?(Hash) && table.values.all?(&test) }
      entries.call(value) do |provider|
        entries.call(provider) { |box| box.is_a?(Hash) && box.values_at("name", "version").all?(String) }
      end
    end

    def initialize(root, environment)
      @values = {}
      merge(read("#{root}/vagrant/settings.yml"), "vagrant/settings.yml")
      merge(read("#{root}/#{LOCAL}"), LOCAL)
      merge(from(environment), "the environment")
    end

    def [](key)
      @values.fetch(key)
    end

    private

    def read(path)
      return {} unless File.exist?(path)

      content = YAML.safe_load(File.read(path)) || {}
      return content if content.is_a?(Hash)

      raise Mistake, "#{path} must hold lines such as `cpus: 2`."
    rescue Psych::Exception => e
      raise Mistake, "#{path} is not valid YAML: #{e.message}"
    end

    def from(environment)
      environment.select { |name, _| name.start_with?(PREFIX) }.to_h do |name, text|
        key = name.delete_prefix(PREFIX).downcase
        [key, NUMBERS.include?(key) && text.match?(/\A\d+\z/) ? text.to_i : text]
      end
    end

    def merge(values, source)
      values.each do |key, value|
        takes, valid = RULES[key]
        raise Mistake, unknown(key, source) unless takes
        raise Mistake, "#{key} in #{source} is #{value.inspect}; it takes #{takes}." unless valid.call(value)

        @values[key] = value
      end
    end

    def unknown(key, source)
      guess = DidYouMean::SpellChecker.new(dictionary: RULES.keys).correct(key.to_s).first
      "#{key} in #{source} is not a setting#{"; did you mean #{guess}?" if guess} " \
        "Valid are: #{RULES.keys.join(', ')}."
    end
  end
end
